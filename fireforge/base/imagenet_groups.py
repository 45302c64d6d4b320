# SPDX-License-Identifier: Apache-2.0
"""Groups of the 1000 classes of ImageNet's competition, in its canonical order, as a LabelTree; the groups are ours."""

from __future__ import annotations

from collections.abc import Mapping

from fireforge.base.hedge import LabelTree

CLASSES = 1000
REST = "objects"  # the group of every class that no line names

# group: the group above it, and positions of the classes directly in it, first-last
GROUPS: Mapping[str, tuple[str, str]] = {
    "things": ("", "971"),
    "living things": ("things", ""),
    "animals": ("living things", ""),
    "fishes": ("animals", "0-6 389-397"),
    "birds": ("animals", "9 91-96"),
    "fowl": ("birds", "7-8 80-86"),
    "songbirds": ("birds", "10-20"),
    "birds of prey": ("birds", "21-24"),
    "parrots": ("birds", "87-90"),
    "water birds": ("birds", "97-100 127-146"),
    "amphibians": ("animals", "25-32"),
    "reptiles": ("animals", "49-51"),
    "turtles": ("reptiles", "33-37"),
    "lizards": ("reptiles", "38-48"),
    "snakes": ("reptiles", "52-68"),
    "invertebrates": ("animals", "69 79 107-111 327-329"),
    "arachnids": ("invertebrates", "70-78"),
    "mollusks": ("invertebrates", "112-117"),
    "crustaceans": ("invertebrates", "118-126"),
    "insects": ("invertebrates", "308-320"),
    "beetles": ("insects", "300-307"),
    "butterflies": ("insects", "321-326"),
    "mammals": ("animals", "101-106 363-364 385-386"),
    "sea mammals": ("mammals", "147-150"),
    "carnivores": ("mammals", "276 298-299 387"),
    "dogs": ("carnivores", "151-158 251-268"),
    "hounds": ("dogs", "159-178"),
    "terriers": ("dogs", "179-204"),
    "gun dogs": ("dogs", "205-221"),
    "working dogs": ("dogs", "222-250"),
    "wolves and foxes": ("carnivores", "269-275 277-280"),
    "cats": ("carnivores", ""),
    "house cats": ("cats", "281-285"),
    "wild cats": ("cats", "286-293"),
    "bears": ("carnivores", "294-297 388"),
    "martens": ("carnivores", "356-362"),
    "rodents and hares": ("mammals", "330-338"),
    "hoofed animals": ("mammals", "339-355"),
    "primates": ("mammals", "383-384"),
    "apes": ("primates", "365-369"),
    "monkeys": ("primates", "370-382"),
    "plants and fungi": ("living things", "958 984-990 998"),
    "fungi": ("plants and fungi", "947 991-997"),
    "people": ("living things", "981-983"),
    "food": ("things", "961 969"),
    "dishes": ("food", "924-926 933-935 959 962-965"),
    "sweets and bread": ("food", "927-932 960"),
    "vegetables": ("food", "936-946"),
    "fruit": ("food", "948-957"),
    "landscapes": ("things", "970 972-980"),
    REST: ("things", ""),
    "vehicles": (REST, "408 428 450 475 479 537 561 573 575 586 595 603 612 690 730 785 802-803 847 856 866"),
    "cars": ("vehicles", "436 468 511 581 609 627 656 661 717 751 817"),
    "trucks and buses": ("vehicles", "407 555 569 654 660 675 734 757 779 864 867 874"),
    "trains": ("vehicles", "466 547 565 705 820 829"),
    "cycles": ("vehicles", "444 665 670-671 870 880"),
    "boats": ("vehicles", "403 472 484 510 554 576 625 628 724 780 814 833 871 913-914"),
    "aircraft": ("vehicles", "404-405 417 701 812 895 908"),
    "structures": (
        REST,
        "406 421 460 489 525 536 540 557 562 649 682 706 708 716 718 819 821 825 839 863 873 877 884 888 912",
    ),
    "buildings": (
        "structures",
        "410 425 437 442 449 483 497-498 500 538 580 624 634 663 668 672 698 727 743 762 832 853 858 900 915",
    ),
    "shops": ("structures", "415 424 454 467 509 582 788 860 865"),
    "furniture": (
        REST,
        "423 431 453 492-493 495 516 520 526 532 548 553 559 564 598 619 648 703 736 765 831 846 857 861 894",
    ),
    "household textiles": ("furniture", "434 533 539 591 669 721 741 750 789 794 797 854 885 904-905 911"),
    "clothes": (
        REST,
        "399-400 411 443 445 451 457 459 461 464-465 474 490 496 501 524 529 552 568 578 601 608 610 614-615 617"
        " 638-639 643 652 655 658 689 697 735 775 796 824 834 836-837 841-842 869 887 906",
    ),
    "headgear": ("clothes", "433 439 452 515 518 560 667 715 793 808 903"),
    "footwear": ("clothes", "502 514 630 770 774 806"),
    "musical instruments": (
        REST,
        "401-402 420 432 486 494 513 541-542 546 558 566 577 579 593-594 641-642 683-684 687 699 776 822 875 881 889",
    ),
    "devices": (REST, "447 480 571 622 633 713 755 823 844 886"),
    "computers and screens": ("devices", "508 527 590 592 613 620 662 664 673 681 742 745 782 810 851 878"),
    "sound, pictures and telephones": ("devices", "481-482 485 487 528 605 632 650 707 732 754 759 761 848"),
    "clocks and measures": ("devices", "409 426 530-531 604 635 685 688 704 769 778 798 826 835 892"),
    "household appliances": ("devices", "534 545 550 589 606 651 753 760 766 786 811 827 859 882 891 897"),
    "containers": (
        REST,
        "412 414 427 440 446 455 463 478 519 549 588 636-637 653 666 692 709 711 719-720 728 737-738 748 756 771"
        " 790-791 876 883 893 898-899 901 907",
    ),
    "kitchenware": (
        "containers",
        "469 473 499 503 505 512 521 544 567 618 647 659 729 773 809 813 828 849 868 909-910 923",
    ),
    "cups and glasses": ("kitchenware", "438 441 504 572 725 966-968"),
    "tools": (
        REST,
        "418 462 477 488 491 507 563 587 596 600 621 623 626 677 695-696 710 714 726 731 739-740 749 758 767 772"
        " 783-784 792 816 840 845",
    ),
    "weapons": (REST, "413 456 471 583 597 657 744 763-764 777 787"),
    "sports gear and toys": (
        REST,
        "416 422 429-430 476 522 543 574 602 611 693 702 722-723 746-747 752 768 795 801 805 843 850 852 890",
    ),
    "signs and printed matter": (REST, "781 916-922"),
}


def imagenet_tree() -> LabelTree:
    """Groups of the 1000 classes, up to six levels below the root.

    Returns:
      The tree; what no group names is directly under "objects".

    Example:
      >>> imagenet_tree().above("hounds")
      ('hounds', 'dogs', 'carnivores', 'mammals', 'animals', 'living things', 'things')
    """
    owners = {position: group for group, (_, spans) in GROUPS.items() for position in _positions(spans)}
    members: dict[str, list[tuple[int, int]]] = {}
    for position in range(CLASSES):
        spans = members.setdefault(owners.get(position, REST), [])
        if spans and spans[-1][1] == position - 1:
            spans[-1] = (spans[-1][0], position)
        else:
            spans.append((position, position))
    parents = {group: above for group, (above, _) in GROUPS.items()}
    return LabelTree(parents=parents, members={group: tuple(spans) for group, spans in members.items()})


def _positions(spans: str) -> list[int]:
    ends = [[int(end) for end in span.split("-")] for span in spans.split()]
    return [position for first, *last in ends for position in range(first, (last or [first])[0] + 1)]
