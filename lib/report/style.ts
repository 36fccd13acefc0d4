/** The style sheet of a report: light, dark and paper. */
export const style = `
:root {
  color-scheme: light dark;
  --paper: #fcfbf8; --raised: #f4f2ec; --ink: #1d1c1a; --soft: #5d5a54; --quiet: #6b6760; --rule: #e0ddd5;
    --strong-rule: #1d1c1a;
  --accent: #1f5f99; --good: #176343; --bad: #9c3324; --warm: #7d520f;
  --c1: #1f5f99; --c2: #b5622d; --c3: #2f7d62; --c4: #7b4b94; --c5: #97822a; --on: #fcfbf8;
  --good-wash: #d9eee2; --bad-wash: #f6dcd6; --warm-wash: #f8ebcb;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #16171a; --raised: #1f2125; --ink: #e9e6df; --soft: #b0aca3; --quiet: #9a968d; --rule: #303237;
      --strong-rule: #d8d4cb;
    --accent: #79b3e8; --good: #66c295; --bad: #ee8a77; --warm: #e2b45c;
    --c1: #79b3e8; --c2: #eaa06b; --c3: #74c7a5; --c4: #c39add; --c5: #d1bd62; --on: #101113;
    --good-wash: #1d3b2d; --bad-wash: #47261f; --warm-wash: #43351a;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.55 -apple-system, BlinkMacSystemFont, 'Inter', 'Segoe UI', Roboto, 'Helvetica Neue', 'Noto Sans',
    Arial, sans-serif;
  font-variant-numeric: tabular-nums; font-feature-settings: 'kern', 'liga';
}
main { max-width: 984px; margin: 0 auto; padding: 56px 32px 72px; }
.serif, h1, .verdict, .text {
  font-family: 'Iowan Old Style', 'Palatino Linotype', Palatino, 'Source Serif 4', 'Noto Serif', Georgia, Cambria,
    serif;
}
.kicker { color: var(--quiet); font-size: 12px; letter-spacing: .09em; text-transform: uppercase; margin: 0 0 14px; }
h1 { font-size: 40px; line-height: 1.12; font-weight: 600; letter-spacing: -.012em; margin: 0 0 18px;
  text-wrap: balance; overflow-wrap: anywhere; }
.verdict { font-size: 21px; line-height: 1.45; color: var(--soft); max-width: 40em; margin: 0; text-wrap: pretty;
  overflow-wrap: anywhere; }
.verdict b { color: var(--ink); font-weight: 600; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); margin: 40px 0 0;
  border-top: 2px solid var(--strong-rule); }
.figures div { padding: 14px 18px 0 0; }
.figures dt { color: var(--quiet); font-size: 12.5px; }
.figures dd { margin: 1px 0 0; font-size: 25px; line-height: 1.2; font-weight: 500; letter-spacing: -.01em;
  white-space: nowrap; }
.figures small { display: block; color: var(--quiet); font-size: 12.5px; font-weight: 400; letter-spacing: 0;
  white-space: normal; margin-top: 3px; }
section { margin-top: 60px; }
h2 { font-size: 19px; line-height: 1.3; font-weight: 600; letter-spacing: -.005em; margin: 0 0 4px; }
h3 { font-size: 14px; font-weight: 600; margin: 30px 0 8px; }
.lead { color: var(--soft); margin: 0 0 18px; max-width: 46em; text-wrap: pretty; }
.note { color: var(--quiet); font-size: 13px; margin: 12px 0 0; max-width: 52em; }
.warnings { list-style: none; margin: 36px 0 0; padding: 14px 18px; background: var(--warm-wash);
  border-radius: 4px; }
.warnings li + li { margin-top: 6px; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: 7px 18px 7px 0; vertical-align: baseline; }
th:last-child, td:last-child { padding-right: 0; }
thead th, thead td { color: var(--quiet); font-size: 12.5px; font-weight: 400; border-bottom: 1px solid var(--strong-rule);
  padding-bottom: 6px; white-space: nowrap; }
tbody tr + tr > * { border-top: 1px solid var(--rule); }
tbody th { font-weight: 500; overflow-wrap: anywhere; }
.num { text-align: right; white-space: nowrap; }
.quiet { color: var(--quiet); } .up { color: var(--good); } .down { color: var(--bad); }
.big td, .big th { padding-top: 11px; padding-bottom: 11px; font-size: 16px; }
.big thead th { font-size: 12.5px; }
.big .after { font-weight: 600; }
.big svg { display: block; width: 100%; min-width: 130px; height: auto; }
.big .spark { width: 30%; padding-left: 6px; vertical-align: middle; }
.sortable thead button { font: inherit; color: inherit; background: none; border: 0; padding: 0; cursor: pointer; }
.sortable thead button:hover { color: var(--ink); }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
.card { font: inherit; font-size: 13px; color: var(--ink); background: var(--raised); border: 1px solid var(--quiet);
  border-radius: 4px; margin: 24px 0 0; padding: 5px 12px; cursor: pointer; }
.search { font: inherit; color: inherit; background: var(--raised); border: 1px solid var(--quiet); border-radius: 4px;
  padding: 5px 9px; margin: 0 0 12px; width: 100%; max-width: 320px; display: block; }
pre { background: var(--raised); padding: 12px 14px; border-radius: 4px; overflow-x: auto; margin: 0; }
.tall { max-height: 760px; overflow: auto; } .tall thead th { position: sticky; top: 0; background: var(--paper); }
.meter { width: 24%; vertical-align: middle; }
.meter i { display: block; height: 6px; min-width: 1px; border-radius: 1px; background: var(--accent); }
.meter i.wrong { background: var(--bad); }
.pairs { font-size: 14px; max-width: 700px; }
.pairs td, .pairs th { padding-top: 5px; padding-bottom: 5px; }
.pairs td:not(.meter), .pairs th { width: 1%; white-space: nowrap; }
.pairs .meter { width: auto; }
.arrow { color: var(--quiet); padding-right: 12px; }
figure { margin: 0; position: relative; } figure + figure { margin-top: 26px;
  } figure + .sideways { margin-top: 14px; }
figcaption { font-weight: 600; font-size: 14px; margin: 0 0 6px; }
figcaption span { color: var(--quiet); font-weight: 400; }
.chart { display: block; width: 100%; height: auto; overflow: visible; } .chart.square { max-width: 560px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 13px; color: var(--soft); margin-bottom: 6px; }
.swatch { display: inline-block; width: 14px; height: 3px; border-radius: 2px; margin-right: 7px;
  vertical-align: middle; }
.swatch.c1 { background: var(--c1); }
.swatch.c2 { background: var(--c2); }
.swatch.c3 { background: var(--c3); }
.swatch.c4 { background: var(--c4); }
.swatch.c5 { background: var(--c5); }
.grid { stroke: var(--rule); stroke-width: 1; } .axis { stroke: var(--quiet); stroke-width: 1; }
.tick, .axis-name { fill: var(--quiet); font-size: 11.5px; }
.line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.line.faint { stroke-width: 1; opacity: .3; }
.line.c1 { stroke: var(--c1); }
.line.c2 { stroke: var(--c2); }
.line.c3 { stroke: var(--c3); }
.line.c4 { stroke: var(--c4); }
.line.c5 { stroke: var(--c5); }
.dot { stroke: var(--paper); stroke-width: 1.5; }
.dot.c1 { fill: var(--c1); }
.dot.c2 { fill: var(--c2); }
.dot.c3 { fill: var(--c3); }
.dot.c4 { fill: var(--c4); }
.dot.c5 { fill: var(--c5); }
.bar { fill: var(--c1); }
.bar.over { fill: var(--bad); }
.limit, .equal { stroke: var(--bad); stroke-width: 1.2; stroke-dasharray: 4 3; }
.limit-name { fill: var(--bad); } .best-mark { stroke: var(--good); stroke-width: 1.2; stroke-dasharray: 2 3; }
.equal { stroke: var(--quiet); } .cloud { fill: var(--c1); fill-opacity: .45; }
.track { stroke: var(--rule); stroke-width: 2; stroke-linecap: round; }
.span { stroke: var(--c1); stroke-width: 3; stroke-linecap: round; }
.span.worse { stroke: var(--bad); }
.from { fill: var(--paper); stroke: var(--quiet); stroke-width: 2; }
.to { fill: var(--c1); }
.to.worse { fill: var(--bad); }
.cross { stroke: var(--quiet); stroke-width: 1; } .cross-dot { fill: var(--ink); }
.readout { position: absolute; right: 14px; top: 0; font-size: 13px; color: var(--soft); }
.scroll { overflow-x: auto; padding-bottom: 4px; }
.confusion { display: block; height: auto; }
.confusion .field { fill: var(--raised); opacity: .6; }
.confusion .labels { fill: var(--soft); }
.heat.right { fill: var(--c1); } .heat.wrong { fill: var(--bad); } .heat:hover { stroke: var(--ink);
  stroke-width: 1; }
.count { fill: var(--ink); pointer-events: none; } .count.on { fill: var(--on); font-weight: 600; }
.mistakes { list-style: none; margin: 0; padding: 0; border-top: 1px solid var(--strong-rule); }
.mistakes > li { display: grid; grid-template-columns: 1fr 270px; gap: 8px 32px; padding: 15px 0;
  break-inside: avoid; }
.mistakes > li + li { border-top: 1px solid var(--rule); } .mistakes > li.wide { display: block; }
.text { font-size: 16.5px; line-height: 1.5; overflow-wrap: anywhere; margin: 0; white-space: pre-line; }
.answer { font-size: 13.5px; line-height: 1.5; margin: 2px 0 0; display: grid; grid-template-columns: 86px 1fr;
  gap: 2px 0; align-content: start; overflow-wrap: anywhere; }
.answer dt { color: var(--quiet); }
.answer dd { margin: 0; }
.answer .gold { color: var(--good); font-weight: 600; }
.answer .said { color: var(--bad); font-weight: 600; }
.tagged { display: grid; grid-template-columns: 84px 1fr; gap: 2px 0; }
.tagged + .tagged { margin-top: 5px; }
.tagged > span { color: var(--quiet); font-size: 13px; line-height: 31px; }
.tagged .text { line-height: 31px; }
mark { color: inherit; padding: 2px 6px 2px 5px; border-radius: 3px; box-decoration-break: clone;
  -webkit-box-decoration-break: clone; }
mark sub { font: 600 10.5px/1 -apple-system, BlinkMacSystemFont, 'Inter', 'Segoe UI', Roboto, 'Noto Sans', Arial,
  sans-serif; letter-spacing: .04em; vertical-align: baseline; margin-left: 6px; }
mark.right { background: var(--good-wash); }
mark.right sub { color: var(--good); }
mark.missed { background: var(--warm-wash); }
mark.missed sub { color: var(--warm); }
mark.wrong { background: var(--bad-wash); } mark.wrong sub { color: var(--bad); }
.key { font-size: 13px; color: var(--soft); display: flex; flex-wrap: wrap; gap: 6px 20px; margin: 0 0 14px; }
.key mark { padding: 1px 6px; }
.blank { border-bottom: 2px solid var(--bad); padding: 0 3px; font-weight: 600; }
.columns { columns: 2; column-gap: 48px; } .columns > div { break-inside: avoid; }
.pair { display: flex; gap: 20px; justify-content: space-between; padding: 5px 0;
  border-bottom: 1px solid var(--rule); }
.pair dt { color: var(--soft); white-space: nowrap; }
.pair dd { margin: 0; text-align: right; overflow-wrap: anywhere; min-width: 0; }
dl { margin: 0; }
footer { margin-top: 72px; padding-top: 14px; border-top: 1px solid var(--rule); color: var(--quiet);
  font-size: 12.5px; }
@media (max-width: 720px) {
  main { padding: 32px 18px 48px; } h1 { font-size: 30px; } .verdict { font-size: 18px; } .columns { columns: 1; }
  .figures { grid-template-columns: repeat(2, 1fr); }
  .mistakes > li { grid-template-columns: 1fr; }
  .big .spark, .wide-only { display: none; }
  .pairs td:not(.meter), .pairs th { white-space: normal; overflow-wrap: anywhere; width: auto; }
  .tagged { grid-template-columns: 1fr; }
  th, td { padding-right: 12px; }
  section { margin-top: 44px; }
  .sideways, figure { overflow-x: auto; }
  .chart { min-width: 600px; }
  .chart.square { min-width: 380px; }
}
@page { margin: 16mm 15mm; }
@media print {
  :root { color-scheme: light; --paper: #fff; --raised: #f5f4f0; --ink: #111; --soft: #444; --quiet: #6f6c66;
    --rule: #ddd; --strong-rule: #111;
    --accent: #1f5f99; --good: #176343; --bad: #9c3324; --warm: #7d520f; --c1: #1f5f99; --c2: #b5622d;
      --c3: #2f7d62; --c4: #7b4b94; --c5: #97822a;
    --on: #fff; --good-wash: #d9eee2; --bad-wash: #f6dcd6; --warm-wash: #f8ebcb; }
  * { -webkit-print-color-adjust: exact; print-color-adjust: exact; }
  body { font-size: 10.5pt; } main { max-width: none; padding: 0; } section { margin-top: 30pt; }
  .tall { max-height: none; overflow: visible; } .tall thead th { position: static; } .scroll { overflow: visible; }
  .confusion { max-width: 100%; }
  h2, h3, figcaption, .lead { break-after: avoid; }
  th, td { padding-top: 3.5pt; padding-bottom: 3.5pt; }
  figure, tr { break-inside: avoid; }
  .readout { display: none; }
}
`
