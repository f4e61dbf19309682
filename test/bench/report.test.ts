/**
 * What the benchmark says about its figures: targets, tables, pictures and the page.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import fc from 'fast-check';
import { CASES } from '../../bench/cases/index.ts';
import { isMet, type Picture, type Row, type Target } from '../../bench/harness/outcome.ts';
import { formatBytes, formatNumber } from '../../bench/harness/report/format.ts';
import { lineChart } from '../../bench/harness/report/line-chart.ts';
import { pageOf } from '../../bench/harness/report/page.ts';
import { ratioChart } from '../../bench/harness/report/ratio-chart.ts';
import {
  type CaseResult,
  mergeResult,
  NO_RESULTS,
  readResults,
  writeResults,
} from '../../bench/harness/report/results.ts';
import { linearScale, logScale } from '../../bench/harness/report/scale.ts';
import { element, renderDocument } from '../../bench/harness/report/svg.ts';
import { textTable } from '../../bench/harness/report/table.ts';
import { selfTimes } from '../../bench/harness/profile-summary.ts';

function row(ours: number, peer: number | null, ...targets: Target[]): Row {
  const against = peer === null ? null : { name: 'rsync', value: peer };
  return { label: 'wall time', unit: 's', ours, peer: against, targets, samples: { ours: [ours], peer: [] } };
}

const PICTURE: Picture = {
  id: 'growth-time',
  title: 'Time < size & "more"',
  xLabel: 'files',
  yLabel: 'seconds',
  xScale: 'log',
  series: [
    {
      name: 'ours',
      points: [
        [1_000, 0.2],
        [1_000_000, 12],
      ],
    },
    {
      name: 'rsync',
      points: [
        [1_000, 0.1],
        [1_000_000, 20],
      ],
    },
  ],
};

function measured(rows: Row[]): CaseResult {
  return {
    status: 'measured',
    at: '2026-01-02T03:04:05.000Z',
    scale: 1,
    loadBefore: 0.1,
    machine: {
      processor: 'a processor',
      cores: 2,
      memoryBytes: 8e9,
      system: 'Linux 6.1',
      dataIsInMemory: true,
      versions: { node: '24.0.0' },
    },
    outcome: { rows, resources: [], pictures: [PICTURE], commands: ['rsync -a A B'], notes: ['a note'] },
  };
}

/** Enough of XML to see that every element is closed in order and that no character stands where it may not. */
function mustBeWellFormed(text: string): void {
  const open: string[] = [];
  const rest = text.replace(/<(\/?)([a-z]+)((?: [a-zA-Z0-9:-]+="[^"<]*")*)(\/?)>/g, (_, closing, name, __, alone) => {
    if (closing === '/') expect(open.pop()).to.equal(name);
    else if (alone !== '/') open.push(name);
    return '';
  });
  expect(open).to.deep.equal([]);
  expect(rest).not.to.match(/[<>]/);
  expect(text.replace(/&(amp|lt|gt|quot);/g, '')).not.to.include('&');
}

describe('a target', () => {
  it('is met up to its bound', () => {
    expect(isMet(row(0.9, 1, { kind: 'ratio', atMost: 0.9 }))).to.equal(true);
    expect(isMet(row(0.91, 1, { kind: 'ratio', atMost: 0.9 }))).to.equal(false);
    expect(isMet(row(5, null, { kind: 'value', atMost: 5 }))).to.equal(true);
    expect(isMet(row(89, null, { kind: 'least', atLeast: 90 }))).to.equal(false);
  });

  it('is open while there is no peer, unless another one is missed', () => {
    const ratio: Target = { kind: 'ratio', atMost: 0.5 };
    expect(isMet(row(1, null, ratio))).to.equal(null);
    expect(isMet(row(1, null, ratio, { kind: 'value', atMost: 2 }))).to.equal(null);
    expect(isMet(row(3, null, ratio, { kind: 'value', atMost: 2 }))).to.equal(false);
    expect(isMet(row(1, 2))).to.equal(null);
  });
});

describe('the cases', () => {
  it('have names of their own', () => {
    expect(new Set(CASES.map(({ name }) => name)).size).to.equal(CASES.length);
  });
});

describe('the results', () => {
  it('replace only the case that was run again', () => {
    const first = mergeResult(mergeResult(NO_RESULTS, 'bulk', measured([row(1, 2)])), 'small', measured([row(3, 4)]));
    const second = mergeResult(first, 'bulk', measured([row(5, 6)]));
    expect(second.cases['small']).to.equal(first.cases['small']);
    expect(second.cases['bulk']).not.to.equal(first.cases['bulk']);
  });

  it('come back from their file as they were, and are refused when they are something else', () => {
    const room = mkdtempSync(join(tmpdir(), 'bench-results-'));
    try {
      const file = join(room, 'out/results.json');
      expect(readResults(file)).to.deep.equal(NO_RESULTS);
      const results = mergeResult(NO_RESULTS, 'bulk', measured([row(1, 2, { kind: 'ratio', atMost: 0.9 })]));
      writeResults(file, results);
      expect(readResults(file)).to.deep.equal(results);
      writeFileSync(file, '{"version":0}');
      expect(() => readResults(file)).to.throw();
    } finally {
      rmSync(room, { recursive: true, force: true });
    }
  });
});

describe('the table', () => {
  it('shows ours, the peer, their ratio and whether the target is met', () => {
    const results = mergeResult(NO_RESULTS, 'bulk', measured([row(1, 2, { kind: 'ratio', atMost: 0.9 })]));
    const lines = textTable(results, ['bulk', 'absent']).split('\n');
    expect(lines).to.have.length(2);
    expect(lines[1]).to.match(/^bulk +wall time +1 s +rsync 2 s +0.5 +ratio ≤ 0.9 +yes$/);
  });

  it('says why a case was skipped', () => {
    const { outcome: _, ...circumstances } = measured([]) as CaseResult & { outcome: unknown };
    const skipped: CaseResult = { ...circumstances, status: 'skipped', reason: 'offline' } as CaseResult;
    expect(textTable(mergeResult(NO_RESULTS, 'wire', skipped), ['wire'])).to.match(/wire +skipped: offline$/);
  });
});

describe('figures', () => {
  it('have three digits that matter', () => {
    expect(formatNumber(0.012345)).to.equal('0.0123');
    expect(formatNumber(12.345)).to.equal('12.3');
    expect(formatNumber(1234567)).to.equal('1,234,567');
    expect(formatBytes(1217)).to.equal('1217 B');
    expect(formatBytes(256e6)).to.equal('256 MB');
    expect(formatBytes(1024 ** 3)).to.equal('1.07 GB');
  });
});

describe('a scale', () => {
  it('keeps the order, and marks what it spans', () => {
    const positive = fc.array(fc.double({ min: 1e-6, max: 1e9, noNaN: true }), { minLength: 2, maxLength: 20 });
    fc.assert(
      fc.property(positive, (values) => {
        const scale = logScale(values, 10, 500);
        for (const value of values) expect(scale.position(value)).to.be.within(10 - 1e-6, 500 + 1e-6);
        const [a = 1, b = 1] = values;
        if (a < b) expect(scale.position(a)).to.be.at.most(scale.position(b));
      }),
    );
    expect(logScale([1_000, 1_000_000], 0, 1).marks).to.deep.equal([1e3, 1e4, 1e5, 1e6]);
    expect(linearScale(1.5, 0.5, 0, 300).marks).to.deep.equal([0, 0.5, 1, 1.5]);
  });
});

describe('a picture', () => {
  it('is well-formed whatever its texts say', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), (title, attribute) => {
        mustBeWellFormed(renderDocument({ width: 1, height: 1 }, title, [element('text', { fill: attribute }, title)]));
      }),
    );
  });

  it('draws curves and bars without a number that is none', () => {
    const bars = [
      { label: 'bulk', peer: 'rsync', ratio: 0.5, target: 0.9 },
      { label: 'x', peer: 'y', ratio: 99, target: 1 },
    ];
    for (const text of [lineChart(PICTURE), lineChart({ ...PICTURE, xScale: 'linear' }), ratioChart(bars)]) {
      mustBeWellFormed(text);
      expect(text).not.to.match(/NaN|Infinity|undefined/);
      expect(text).to.include('prefers-color-scheme: dark');
    }
  });
});

describe('the page', () => {
  it('shows each case, links its pictures, and says what is short of its target', () => {
    const results = mergeResult(NO_RESULTS, 'bulk', measured([row(1, 1, { kind: 'ratio', atMost: 0.9 })]));
    const { markdown, pictures } = pageOf(results, CASES);
    expect(markdown).to.include('## bulk');
    expect(markdown).to.include('Short of its target: wall time.');
    expect([...pictures.keys()].sort()).to.deep.equal(['growth-time.svg', 'overview.svg']);
    for (const name of pictures.keys()) expect(markdown).to.include(`(images/benchmarks/${name})`);
    expect(markdown).to.include('| small | not measured |');
  });
});

describe('the summary of a profile', () => {
  it('adds up the own time of each function', () => {
    const frame = (functionName: string) => ({ functionName, url: 'file:///a/b.ts', lineNumber: 4 });
    const nodes = [
      { id: 1, callFrame: frame('hash') },
      { id: 2, callFrame: frame('send') },
    ];
    const times = selfTimes({ nodes, samples: [1, 2, 1], timeDeltas: [1e6, 5e5, 2e6] });
    expect(times).to.deep.equal([
      { name: 'hash b.ts:5', seconds: 3 },
      { name: 'send b.ts:5', seconds: 0.5 },
    ]);
  });
});
