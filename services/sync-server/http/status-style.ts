/**
 * The style sheet of the status page. Colours have a contrast of at least 4.5 to 1 in both schemes; what a colour says, a
 * word says too. On a phone each row of the table becomes a card.
 */
export const STATUS_STYLE = `
:root {
  color-scheme: light dark;
  --back: #f4f5f8; --card: #ffffff; --text: #1b1f27; --quiet: #5a6170; --rule: #dfe2e9;
  --accent: #2456d6; --area: #2456d622;
  --good: #17693a; --good-back: #e0f4e7; --warn: #8a4b00; --warn-back: #fdeed6; --bad: #a31621; --bad-back: #fde4e5;
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #12151b; --card: #1b1f28; --text: #e7eaf0; --quiet: #a2aab9; --rule: #303643;
    --accent: #8fb0ff; --area: #8fb0ff2b;
    --good: #7fdca2; --good-back: #14351f; --warn: #ffc370; --warn-back: #3b2a0e; --bad: #ff9aa0; --bad-back: #42191c;
  }
}
* { box-sizing: border-box; }
[hidden] { display: none !important; }
body { margin: 0 auto; max-width: 74rem; padding: 1.25rem 1.25rem 2rem; background: var(--back); color: var(--text); }
h1 { font-size: 1.45rem; margin: 0; letter-spacing: -.01em; }
h2 { font-size: 1rem; margin: 0; }
h2 .quiet { font-weight: 400; }
header { display: flex; flex-wrap: wrap; gap: .25rem 1rem; align-items: baseline; }
header p { margin: 0; }
#connection { margin-left: auto; }
section { margin-top: 1.4rem; outline-offset: .4rem; }
.title-row { display: flex; align-items: center; justify-content: space-between; }
.card { background: var(--card); border: 1px solid var(--rule); border-radius: .6rem; padding: .25rem 1rem; margin-top: .5rem; }
.quiet, small { color: var(--quiet); }
small { display: block; font-size: .82rem; overflow-wrap: anywhere; }
a { color: var(--accent); }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: .5rem; background: var(--card); padding: .3rem .6rem; }
:focus-visible { outline: 2px solid var(--accent); }
button { font: inherit; font-size: .88rem; color: var(--text); background: var(--card); border: 1px solid var(--quiet); border-radius: .45rem; padding: .15rem .8rem; min-height: 1.9rem; cursor: pointer; }
button[aria-pressed="true"] { background: var(--accent); border-color: var(--accent); color: var(--card); }
.badge { display: inline-block; border-radius: 1rem; padding: 0 .6rem; font-size: .85rem; font-weight: 600; color: var(--quiet); background: var(--back); }
.badge.ready { color: var(--good); background: var(--good-back); }
.badge.recovering, .badge.starting, .badge.draining { color: var(--warn); background: var(--warn-back); }
.badge.degraded, .badge.lost { color: var(--bad); background: var(--bad-back); }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .5rem 1rem .5rem 0; border-bottom: 1px solid var(--rule); vertical-align: top; overflow-wrap: anywhere; }
tr > :last-child { padding-right: 0; }
tbody tr:last-child > * { border-bottom: 0; }
.number + :not(.number) { padding-left: 1rem; }
thead th { color: var(--quiet); font-weight: 500; font-size: .85rem; overflow-wrap: normal; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(15rem, 1fr)); gap: .8rem; margin-top: .5rem; }
.chart { position: relative; margin: 0; padding: .6rem 1rem .7rem; }
figcaption { display: flex; flex-wrap: wrap; justify-content: space-between; align-items: baseline; }
.chart-value { font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.chart-title { flex-grow: 1; }
.chart-note { font-size: .8rem; }
figcaption::after { content: ""; order: 1; flex-basis: 100%; }
.chart-note { order: 2; }
.chart svg { display: block; width: 100%; height: 4rem; margin-top: .4rem; border-bottom: 1px solid var(--rule); border-top: 1px dashed var(--rule); }
.area { fill: var(--area); stroke: none; }
.line { fill: none; stroke: var(--accent); stroke-width: 1.5; vector-effect: non-scaling-stroke; stroke-linejoin: round; }
ul, ol { list-style: none; margin: 0; padding: 0; }
#problems li, #checks li { padding: .5rem 0; border-top: 1px solid var(--rule); overflow-wrap: anywhere; }
#checks li:first-child { border-top: 0; }
#problems-summary { margin: .4rem 0; }
#problems strong { color: var(--bad); }
.remedy::before { content: "→ "; color: var(--accent); }
progress { width: 100%; height: .6rem; accent-color: var(--accent); }
.feed p { margin: .4rem 0; }
#changes { max-height: 19rem; overflow-y: auto; padding: .3rem 0; font-size: .9rem; }
#changes li { display: grid; grid-template-columns: 5rem 5.2rem 1fr auto; gap: .2rem .8rem; padding: .12rem 0; }
#changes .where { overflow-wrap: anywhere; }
#changes .where, #changes .when { font-variant-numeric: tabular-nums; }
#changes .what { font-weight: 600; }
#changes .what.delete { color: var(--bad); }
#changes .what.put { color: var(--good); }
footer { margin-top: 1.5rem; }
@media (max-width: 44rem) {
  body { padding: 1rem .8rem 2rem; }
  #connection { margin-left: 0; flex-basis: 100%; }
  table, tbody, tr, td, tbody th { display: block; }
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  tbody tr { padding: .5rem 0; border-bottom: 1px solid var(--rule); }
  tbody tr:last-child { border-bottom: 0; }
  tbody th, td { border: 0; padding: .12rem 0; }
  tbody th { font-size: 1.05rem; }
  td { display: grid; grid-template-columns: 6rem 1fr; }
  .number + :not(.number) { padding-left: 0; }
  td::before { content: attr(data-title); color: var(--quiet); font-size: .88rem; grid-row: span 2; }
  td > small { grid-column: 2; }
  td > .badge { justify-self: start; }
  td.number { text-align: left; }
  #changes li { grid-template-columns: 4.4rem 4.6rem 1fr; }
  #changes .where { grid-column: 1 / -1; grid-row: 2; }
  #changes li { border-bottom: 1px solid var(--rule); padding: .3rem 0; }
}
@media (prefers-reduced-motion: no-preference) {
  #changes li.new { animation: come 600ms ease-out; }
  @keyframes come { from { background: var(--area); } }
}
`;
