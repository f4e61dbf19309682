/**
 * Curves over a common axis, with a legend beside them. Pure.
 */
import type { Picture } from '../outcome.ts';
import { formatNumber } from './format.ts';
import { linearScale, logScale, type Scale } from './scale.ts';
import { element, renderDocument, type SvgElement } from './svg.ts';

const WIDTH = 900;
const HEIGHT = 420;
const LEFT = 80;
const RIGHT = 610;
const TOP = 52;
const BOTTOM = 356;
const LEGEND_LEFT = 640;
const LEGEND_LINE_HEIGHT = 22;
/** By Okabe and Ito: told apart by everybody, and visible on light and dark. */
export const COLORS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'] as const;
const MANY_POINTS = 12;

export function lineChart(picture: Picture): string {
  const points = picture.series.flatMap((series) => series.points).filter(([x, y]) => x > 0 && y > 0);
  if (points.length === 0) throw new RangeError(`the picture ${picture.id} is empty`);
  const xs = points.map(([x]) => x);
  const x = picture.xScale === 'log' ? logScale(xs, LEFT, RIGHT) : linearScale(100, 10, LEFT, RIGHT);
  const y = logScale(
    points.map(([, value]) => value),
    BOTTOM,
    TOP,
  );
  return renderDocument({ width: WIDTH, height: HEIGHT }, picture.title, [
    element('text', { x: LEFT, y: 26, class: 'title' }, picture.title),
    ...grid(x, y),
    element('text', { x: (LEFT + RIGHT) / 2, y: HEIGHT - 16, 'text-anchor': 'middle', class: 'faint' }, picture.xLabel),
    element(
      'text',
      {
        x: 18,
        y: (TOP + BOTTOM) / 2,
        'text-anchor': 'middle',
        class: 'faint',
        transform: `rotate(-90 18 ${(TOP + BOTTOM) / 2})`,
      },
      picture.yLabel,
    ),
    ...picture.series.flatMap((series, index) => curve(series, index, x, y)),
    ...picture.series.flatMap((series, index) => legend(series.name, index)),
  ]);
}

function grid(x: Scale, y: Scale): SvgElement[] {
  return [
    ...x.marks.flatMap((mark) => [
      element('line', { x1: x.position(mark), y1: TOP, x2: x.position(mark), y2: BOTTOM, class: 'grid' }),
      element('text', { x: x.position(mark), y: BOTTOM + 20, 'text-anchor': 'middle' }, formatNumber(mark)),
    ]),
    ...y.marks.flatMap((mark) => [
      element('line', { x1: LEFT, y1: y.position(mark), x2: RIGHT, y2: y.position(mark), class: 'grid' }),
      element('text', { x: LEFT - 8, y: y.position(mark) + 4, 'text-anchor': 'end' }, formatNumber(mark)),
    ]),
    element('line', { x1: LEFT, y1: BOTTOM, x2: RIGHT, y2: BOTTOM, class: 'axis' }),
    element('line', { x1: LEFT, y1: TOP, x2: LEFT, y2: BOTTOM, class: 'axis' }),
  ];
}

function colorOf(index: number): string {
  return COLORS[index % COLORS.length] ?? COLORS[0];
}

/** Ours is drawn through, peers are dashed. */
function strokeOf(name: string, index: number): Readonly<Record<string, string | number>> {
  const line = { stroke: colorOf(index), 'stroke-width': 2.5, fill: 'none' };
  return name.startsWith('ours') ? line : { ...line, 'stroke-dasharray': '6 4' };
}

function curve(series: Picture['series'][number], index: number, x: Scale, y: Scale): SvgElement[] {
  const places = series.points
    .filter(([, value]) => value > 0)
    .map(([at, value]) => [x.position(at), y.position(value)] as const);
  const path = places.map(([px, py]) => `${px.toFixed(1)},${py.toFixed(1)}`).join(' ');
  const line = element('polyline', { points: path, ...strokeOf(series.name, index) });
  const dots = places.length > MANY_POINTS ? [] : places;
  return [line, ...dots.map(([cx, cy]) => element('circle', { cx, cy, r: 3.5, fill: colorOf(index) }))];
}

function legend(name: string, index: number): SvgElement[] {
  const y = TOP + 10 + index * LEGEND_LINE_HEIGHT;
  return [
    element('line', { x1: LEGEND_LEFT, y1: y - 4, x2: LEGEND_LEFT + 26, y2: y - 4, ...strokeOf(name, index) }),
    element('text', { x: LEGEND_LEFT + 34, y }, name),
  ];
}
