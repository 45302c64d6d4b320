# SPDX-License-Identifier: Apache-2.0
"""The page's style sheet."""

from __future__ import annotations

STYLE = """
:root {
  color-scheme: light dark;
  --page: #faf9f7; --card: #ffffff; --ink: #1f2326; --soft: #646b72; --rule: #e5e3df; --faint: #f2f0ec;
  --accent: #b8450f; --good: #2c6e49; --good-back: #e6f1ea; --bad: #a8232d; --bad-back: #f9e7e8;
  --second: #2a6aa8; --third: #1f7a5c; --fourth: #7b4ca6;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #16181a; --card: #1d2022; --ink: #e4e4e1; --soft: #9aa1a7; --rule: #31363a; --faint: #25292c;
    --accent: #f28b50; --good: #7fc69c; --good-back: #1e3328; --bad: #f0888f; --bad-back: #3d2225;
    --second: #74b3ee; --third: #69c9a4; --fourth: #c19ae8;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--page); color: var(--ink); line-height: 1.55; font-size: 16px;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", Arial, sans-serif;
}
main { max-width: 1040px; margin: 0 auto; padding: 48px 32px 96px; }
p { margin: 0 0 12px; max-width: 72ch; }
.brand { color: var(--accent); font-weight: 600; letter-spacing: .04em; margin: 0; }
h1 {
  font-size: 2.1rem; line-height: 1.2; font-weight: 650; letter-spacing: -.015em; margin: 2px 0 14px;
  overflow-wrap: anywhere;
}
h2 { font-size: 1.35rem; line-height: 1.3; font-weight: 650; letter-spacing: -.01em; margin: 0 0 12px; }
h3 { font-size: 1rem; font-weight: 600; margin: 28px 0 8px; }
header .lead { font-size: 1.1rem; color: var(--ink); }
.lead { color: var(--soft); margin-bottom: 18px; overflow-wrap: anywhere; }
.note, figcaption { color: var(--soft); font-size: .875rem; }
.alarm {
  border-left: 4px solid var(--bad); background: var(--bad-back); padding: 10px 16px; border-radius: 4px;
  max-width: none;
}
.missing {
  color: var(--soft); border: 1px dashed var(--rule); border-radius: 8px; padding: 10px 16px; max-width: none;
}
section {
  margin-top: 24px; padding: 28px 32px; background: var(--card); border: 1px solid var(--rule);
  border-radius: 12px;
}
section > :last-child { margin-bottom: 0; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 28px 0 0; font-size: .9rem; }
nav a { color: var(--soft); text-decoration: none; border-bottom: 1px solid var(--rule); }
nav a:hover { color: var(--accent); border-color: var(--accent); }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(165px, 1fr)); gap: 16px; margin: 26px 0 20px; }
.tile { background: var(--card); border: 1px solid var(--rule); border-radius: 12px; padding: 16px 20px; }
.tile .name { color: var(--soft); font-size: .875rem; }
.tile .value {
  font-size: 1.75rem; font-weight: 600; letter-spacing: -.02em; font-variant-numeric: tabular-nums;
  line-height: 1.35;
}
.tile .note { overflow-wrap: anywhere; }
.badges { display: flex; flex-wrap: wrap; gap: 8px; max-width: none; }
.badge {
  display: inline-block; padding: 2px 10px; border-radius: 99px; font-size: .85rem; font-weight: 500;
  white-space: nowrap;
  color: var(--soft); background: var(--faint); font-variant-numeric: tabular-nums;
}
.badge.good { color: var(--good); background: var(--good-back); }
.badge.bad { color: var(--bad); background: var(--bad-back); }
.scroll { overflow-x: auto; margin: 0 0 16px; }
.tall { max-height: 34rem; overflow-y: auto; border-bottom: 1px solid var(--rule); }
.tall th { position: sticky; top: 0; background: var(--card); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th, td { padding: 7px 14px 7px 0; text-align: left; vertical-align: baseline; border-bottom: 1px solid var(--rule); }
th:last-child, td:last-child { padding-right: 4px; }
tbody tr:last-child td { border-bottom: 0; }
th { color: var(--soft); font-weight: 500; font-size: .825rem; white-space: nowrap; }
.num { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.marked td { background: var(--faint); font-weight: 600; }
.marked td:first-child { box-shadow: inset 3px 0 var(--accent); padding-left: 10px; }
dl { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 6px 22px; margin: 0; font-size: .925rem; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
ul { margin: 8px 0 12px; padding-left: 20px; font-size: .925rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr)); gap: 12px 36px; }
.columns > div { min-width: 0; }
.columns h3:first-child { margin-top: 8px; }
figure { margin: 4px 0 16px; }
figcaption { margin-top: 8px; max-width: 72ch; }
svg { display: block; width: 100%; height: auto; font-size: 12px; color: var(--ink); overflow: visible; }
svg text { fill: currentColor; font-variant-numeric: tabular-nums; }
svg .tick, svg .axis { fill: var(--soft); }
svg .grid { stroke: var(--rule); stroke-width: 1; }
.legend { display: inline-flex; flex-wrap: wrap; gap: 2px 18px; }
.legend > span { display: inline-flex; align-items: center; gap: 7px; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 50%; background: var(--accent); }
.part-train { fill: var(--accent); background: var(--accent); }
.part-val { fill: var(--accent); opacity: .55; }
.part-test { fill: var(--accent); opacity: .27; }
.bar { fill: var(--accent); }
.bar.plain { fill: var(--soft); opacity: .45; }
.dot { stroke: var(--card); stroke-width: 1.2; }
.family-0 { fill: var(--accent); background: var(--accent); }
.family-1 { fill: var(--second); background: var(--second); }
.family-2 { fill: var(--third); background: var(--third); }
.family-3 { fill: var(--fourth); background: var(--fourth); }
.plain, .family-other { fill: var(--soft); background: var(--soft); }
.rung-0 { opacity: .5; }
.rung-1 { opacity: .75; }
.keys { display: flex; flex-wrap: wrap; gap: 2px 18px; margin-bottom: 18px; }
.sample { width: 14px; height: 14px; flex: none; }
.before { fill: none; stroke: var(--soft); stroke-width: 1.6; stroke-dasharray: 3 2; pointer-events: all; }
.key.before { background: none; border: 2px dashed var(--soft); }
.after { fill: var(--accent); background: var(--accent); }
.test { fill: var(--second); background: var(--second); }
.fine { color: var(--soft); font-size: .825rem; }
.front { stroke: var(--accent); stroke-width: 1.3; stroke-dasharray: 5 4; }
.key.front { width: 20px; height: 0; border-radius: 0; border-top: 2px dashed var(--accent); background: none; }
.rug { stroke: var(--soft); stroke-width: 1; opacity: .35; }
.key.rug { width: 2px; height: 11px; border-radius: 0; background: var(--soft); opacity: .6; }
.meter { display: inline-block; width: 110px; height: 10px; border-radius: 3px; background: var(--faint); }
.meter > span { display: block; height: 100%; border-radius: 3px; background: var(--accent); }
.chosen { fill: none; stroke: var(--ink); stroke-width: 2; pointer-events: all; }
.key.chosen { background: none; border: 2px solid var(--ink); width: 14px; height: 14px; }
.line polyline { stroke-width: 2; stroke-linejoin: round; }
.series-val polyline { stroke: var(--accent); }
.series-val circle { fill: var(--accent); }
.series-train polyline { stroke: var(--soft); opacity: .7; }
.series-train circle { fill: var(--soft); }
.key.series-train { background: var(--soft); }
.series-look polyline { stroke: var(--second); opacity: .35; }
.series-look circle { fill: var(--second); opacity: .35; }
.key.series-look { background: var(--second); opacity: .35; }
.ideal polyline { stroke: var(--soft); stroke-width: 1.2; stroke-dasharray: 4 4; }
.ideal circle { fill: none; }
.empty { fill: var(--faint); }
.right { fill: var(--soft); }
.wrong { fill: var(--accent); }
.count.strong { fill: var(--card); font-weight: 600; }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(92px, 1fr)); gap: 14px; margin: 8px 0; }
.picture { margin: 0; min-width: 0; }
.picture img, .hole {
  display: block; width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 6px;
  background: var(--faint);
}
.picture img.tiny { image-rendering: pixelated; }
.hole { display: grid; place-items: center; color: var(--soft); font-size: .75rem; }
.picture figcaption { margin-top: 4px; text-align: center; font-size: .8rem; overflow-wrap: anywhere; }
.listing h3 { margin: 18px 0 6px; }
pre { margin: 0; padding: 14px 16px; background: var(--faint); border-radius: 8px; overflow-x: auto; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "Liberation Mono", monospace; font-size: .84rem; }
@media (max-width: 640px) {
  main { padding: 28px 14px 64px; }
  section { padding: 20px 16px; border-radius: 10px; }
  h1 { font-size: 1.65rem; }
  .tiles { grid-template-columns: 1fr 1fr; gap: 10px; }
  .tile { padding: 12px 14px; }
  .tile .value { font-size: 1.35rem; }
  .badges .badge { white-space: normal; border-radius: 12px; }
  .plot.wide { overflow-x: auto; }
  .plot.wide svg { min-width: 760px; }
  .gallery { grid-template-columns: repeat(auto-fill, minmax(68px, 1fr)); gap: 10px; }
  table.broad { min-width: 660px; }
  td:first-child { min-width: 8rem; }
  .broad td:last-child:not(.num) { min-width: 14rem; }
  dl { gap: 6px 14px; font-size: .875rem; }
}
@media print {
  :root {
    --page: #ffffff; --card: #ffffff; --ink: #000000; --soft: #50565c; --rule: #cfcfcf; --faint: #f2f0ec;
    --accent: #b8450f; --good: #2c6e49; --good-back: #e6f1ea; --bad: #a8232d; --bad-back: #f9e7e8;
    --second: #2a6aa8; --third: #1f7a5c; --fourth: #7b4ca6;
  }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  body { font-size: 11pt; }
  main { max-width: none; padding: 0; }
  nav { display: none; }
  section { border: 0; padding: 0; margin-top: 28px; }
  .tall { max-height: none; overflow: visible; }
  .tall th { position: static; }
  pre { white-space: pre-wrap; overflow-wrap: anywhere; }
  figure, tr, .tile, .listing, .picture { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
}
"""
