/** How uPlot draws our charts. It knows no component: all that it needs is handed in. */
import uPlot from 'uplot';

import { DASHES, seriesColor, token } from './colors';
import type { ChartSeries } from './series';
import { INCREMENTS, marksOf } from './ticks';

export interface Drawing {
  series: readonly ChartSeries[];
  kind: 'lines' | 'bars';
  hasPrevious: boolean;
  /** Begin of the point that isn't over, epoch seconds. */
  runningFrom: number | null;
  /** Seconds from point to point. */
  step: number;
  zone: string;
  width: number;
  height: number;
  log: boolean;
  bare: boolean;
  format: (value: number | null) => string;
  stamp: (at: number) => string;
  moved: (self: uPlot) => void;
  selected: (self: uPlot) => void;
}

/** A bar's share of its point's length, and its greatest width, px. */
const BAR = 0.78;
const MOST_BAR = 28;

export const colorOf = (one: ChartSeries, index: number): string => one.color ?? seriesColor(index);

export function optionsOf(drawing: Drawing): uPlot.Options {
  const muted = token('muted');
  const line = token('line');
  const font = `12px ${getComputedStyle(document.body).fontFamily}`;
  const bars = drawing.kind === 'bars';
  const order = bars ? [...drawing.series].reverse() : drawing.series;
  const running = drawing.runningFrom;
  const drawn: uPlot.Series[] = order.map((one, index) => {
    const position = bars ? drawing.series.length - 1 - index : index;
    const color = token(colorOf(one, position));
    if (bars) {
      return {
        label: one.label,
        fill: () => (one.hatched ? hatch(color) : color),
        stroke: color,
        width: 0,
        points: { show: false },
        paths: uPlot.paths.bars!({
          size: [BAR, MOST_BAR],
          gap: 1,
          align: 1,
          // Each from the top of the one below: else that one's edge would shine through.
          disp: {
            y0: {
              unit: 1,
              values: (self, at) => (at === order.length ? [] : [...self.data[at + 1]!]),
            },
            y1: { unit: 1, values: (self, at) => [...self.data[at]!] },
          },
        }),
      };
    }
    return {
      label: one.label,
      stroke: color,
      width: 1.5,
      dash: [...(DASHES[position % DASHES.length] ?? [])],
      spanGaps: false,
      points: { show: (self, at) => isAlone(self, at) },
    };
  });
  if (drawing.hasPrevious) {
    drawn.push({
      label: 'previous',
      stroke: muted,
      width: 1,
      dash: [3, 3],
      points: { show: false },
    });
  }
  return {
    width: Math.max(drawing.width, 100),
    height: drawing.height,
    // At the left, room for half of the first mark's words, where no axis gives it.
    padding: [drawing.bare ? 2 : 8, 20, 0, drawing.bare ? 20 : 0],
    legend: { show: false },
    cursor: {
      sync: { key: 'page' },
      drag: { x: true, y: false, setScale: false },
      points: { show: !bars, size: 6 },
    },
    scales: {
      x: {
        time: false,
        // Bars stand on their point's begin: the last one needs its own length.
        range: (_, from, to) => [from, bars ? to + drawing.step : Math.max(to, from + 1)],
      },
      y: {
        distr: drawing.log ? 3 : 1,
        range: (_, low, high) =>
          drawing.log ? [Math.max(1, low), Math.max(10, high)] : [0, high > 0 ? high * 1.08 : 1],
      },
    },
    axes: [
      {
        stroke: muted,
        font,
        size: 28,
        gap: 6,
        grid: { show: false },
        ticks: { stroke: line, width: 1, size: 4 },
        space: 72,
        incrs: INCREMENTS,
        splits: (_, __, from, to, increment) => marksOf(from, to, increment, drawing.zone),
        values: (_, marks) => marks.map(drawing.stamp),
      },
      {
        show: !drawing.bare,
        stroke: muted,
        font,
        size: (_, values) => Math.max(36, ...(values ?? []).map((text) => text.length * 7 + 12)),
        gap: 4,
        grid: { stroke: line, width: 1 },
        ticks: { show: false },
        space: 36,
        values: (_, marks) => marks.map((mark) => (mark === null ? '' : drawing.format(mark))),
      },
    ],
    series: [{}, ...drawn],
    hooks: {
      setCursor: [drawing.moved],
      setSelect: [drawing.selected],
      // The running point is faint and dashed, since its number will grow.
      draw:
        running === null
          ? []
          : [
              (self) => {
                veil(self, running, drawing.step);
                if (bars) outline(self, running, drawing.step);
              },
            ],
    },
  };
}

function isAlone(self: uPlot, at: number): boolean {
  const values = self.data[at] ?? [];
  return values.filter((value) => value != null).length === 1;
}

function veil(self: uPlot, from: number, step: number): void {
  const { ctx, bbox } = self;
  const left = Math.max(self.valToPos(from, 'x', true), bbox.left);
  const right = Math.min(self.valToPos(from + step, 'x', true), bbox.left + bbox.width);
  if (right <= left) return;
  ctx.save();
  ctx.globalAlpha = 0.5;
  ctx.fillStyle = token('surface');
  ctx.fillRect(left, bbox.top, right - left, bbox.height);
  ctx.restore();
}

/** Dashed, around the highest bar of a stack: the one that is drawn first. */
function outline(self: uPlot, from: number, step: number): void {
  const { ctx, bbox } = self;
  const at = self.data[0].indexOf(from);
  const value = at === -1 ? null : self.data[1]?.[at];
  if (!value) return;
  const left = self.valToPos(from, 'x', true);
  const right = self.valToPos(from + step, 'x', true);
  const top = self.valToPos(value, 'y', true);
  const wide = Math.min((right - left) * BAR, MOST_BAR * devicePixelRatio);
  ctx.save();
  ctx.strokeStyle = token('muted');
  ctx.lineWidth = devicePixelRatio;
  ctx.setLineDash([2 * devicePixelRatio, 2 * devicePixelRatio]);
  ctx.strokeRect(left, top, Math.max(wide, 2), bbox.top + bbox.height - top);
  ctx.restore();
}

function hatch(color: string): CanvasPattern | string {
  const tile = document.createElement('canvas');
  tile.width = tile.height = 6 * devicePixelRatio;
  const pen = tile.getContext('2d');
  if (!pen) return color;
  const size = tile.width;
  pen.globalAlpha = 0.45;
  pen.fillStyle = color;
  pen.fillRect(0, 0, size, size);
  pen.globalAlpha = 1;
  pen.strokeStyle = color;
  pen.lineWidth = 1.5 * devicePixelRatio;
  pen.beginPath();
  for (const shift of [-size, 0, size]) {
    pen.moveTo(shift, size);
    pen.lineTo(shift + size, 0);
  }
  pen.stroke();
  return pen.createPattern(tile, 'repeat') ?? color;
}
