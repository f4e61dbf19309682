/**
 * One bar for each measure: ours as a part of the peer. Pure.
 */
import { formatNumber } from './format.ts';
import { COLORS } from './line-chart.ts';
import { linearScale } from './scale.ts';
import { element, renderDocument, type SvgElement } from './svg.ts';

export interface RatioBar {
  readonly label: string;
  readonly peer: string;
  readonly ratio: number;
  readonly target: number;
}

const WIDTH = 860;
const LEFT = 330;
const RIGHT = 800;
const TOP = 56;
const BAR_HEIGHT = 16;
const LINE_HEIGHT = 26;
/** What is longer is cut off here, and says so by its figure. */
const LONGEST = 1.5;

export function ratioChart(bars: readonly RatioBar[]): string {
  const bottom = TOP + bars.length * LINE_HEIGHT;
  const x = linearScale(LONGEST, 0.25, LEFT, RIGHT);
  const title = 'Ours beside its peer: shorter is better, 1 is the peer';
  return renderDocument({ width: WIDTH, height: bottom + 62 }, title, [
    element('text', { x: 16, y: 26, class: 'title' }, title),
    ...x.marks.flatMap((mark) => [
      element('line', {
        x1: x.position(mark),
        y1: TOP,
        x2: x.position(mark),
        y2: bottom,
        class: mark === 1 || mark === 0 ? 'axis' : 'grid',
      }),
      element('text', { x: x.position(mark), y: bottom + 20, 'text-anchor': 'middle' }, formatNumber(mark)),
    ]),
    ...bars.flatMap((bar, index) => barOf(bar, TOP + index * LINE_HEIGHT, x.position)),
    element('line', { x1: LEFT, y1: bottom + 42, x2: LEFT, y2: bottom + 54, stroke: COLORS[4], 'stroke-width': 3 }),
    element('text', { x: LEFT + 10, y: bottom + 53, class: 'faint' }, 'the target'),
  ]);
}

function barOf(bar: RatioBar, top: number, position: (value: number) => number): SvgElement[] {
  const middle = top + LINE_HEIGHT / 2;
  const end = position(Math.min(bar.ratio, LONGEST));
  const isMet = bar.ratio <= bar.target;
  return [
    element('text', { x: LEFT - 10, y: middle + 4, 'text-anchor': 'end' }, `${bar.label} / ${bar.peer}`),
    element('rect', {
      x: LEFT,
      y: middle - BAR_HEIGHT / 2,
      width: Math.max(1, end - LEFT),
      height: BAR_HEIGHT,
      rx: 2,
      fill: isMet ? COLORS[2] : COLORS[1],
    }),
    element('line', {
      x1: position(bar.target),
      y1: top + 2,
      x2: position(bar.target),
      y2: top + LINE_HEIGHT - 2,
      stroke: COLORS[4],
      'stroke-width': 3,
    }),
    element('text', { x: end + 6, y: middle + 4 }, formatNumber(bar.ratio)),
  ];
}
