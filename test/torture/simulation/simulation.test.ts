/**
 * The deterministic simulation, over many seeds. `make torture SEEDS=20000` for more; a failure names its seed and the
 * actions that are left of it when all others are taken away.
 */
import { join } from 'node:path';
import { expect } from 'chai';
import { removeDirectory, temporaryDirectory } from '../../support/pair.ts';
import { skipBecause } from '../../support/pair-hooks.ts';
import { seedsOf } from '../budget.ts';
import { isFailure, Players } from './players.ts';
import { actionsOfSeed, play, type SeededRun } from './seeded-run.ts';
import { shrink } from './shrink.ts';
import type { PlantedFault } from './simulated-server.ts';
import type { Action } from './simulation.ts';

const { first: FIRST_SEED, count: SEEDS } = seedsOf(1000);
/** So many runs for one that keeps owners, too. */
const RUNS_PER_OWNED_ONE = 7;
const MAY_GIVE_AWAY = process.geteuid?.() === 0;
/** Runs that are played twice. */
const RUNS_TO_REPEAT = 20;
/** Runs within which a planted fault must be found. */
const RUNS_TO_FIND = 1_000;

const FAULTS: readonly PlantedFault[] = [
  'a hint is lost and nobody looks',
  'an answer comes before the log is synced',
  'the changes of a batch are applied in another order',
  'what cannot be read counts as deleted',
  'an answer is believed that belongs to another session',
  'a sync that failed is believed at its second try',
];

/** What was left of runs that failed once. */
const KEPT: readonly { readonly what: string; readonly run: SeededRun; readonly actions: readonly Action[] }[] = [
  {
    what: 'the owner of a symbolic link is changed through one of its names (E19, E79)',
    run: { seed: 1_000_039, owners: true },
    actions: [
      { kind: 'mutate', seed: 206083126 },
      { kind: 'mutate', seed: 1007117310 },
      { kind: 'lose hints', seed: 1200859434 },
      { kind: 'connect', seed: 329333693 },
      { kind: 'deliver hints', seed: 48475687 },
      { kind: 'work', seed: 756689244 },
      { kind: 'mutate', seed: 1456767059 },
    ],
  },
  {
    what: 'the watcher dies after a renamed directory was sent as a new one, and before it knows of that (E64, F03)',
    run: { seed: 1_001_571 },
    actions: [
      { kind: 'mutate', seed: 370837637 },
      { kind: 'mutate', seed: 1048376818 },
      { kind: 'mutate', seed: 634050880 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 1829586803 },
      { kind: 'lose hints', seed: 1740206647 },
      { kind: 'mutate', seed: 183144738 },
      { kind: 'deliver hints', seed: 1365963324 },
      { kind: 'work', seed: 966797828 },
      { kind: 'mutate', seed: 1912692022 },
      { kind: 'scan', seed: 271711599 },
      { kind: 'work', seed: 1157375817 },
      { kind: 'watcher reads', seed: 1692268671 },
      { kind: 'server reads', seed: 538952820 },
      { kind: 'watcher crashes', seed: 1048322413 },
    ],
  },
  {
    what: 'a directory takes the name of a file that has another name, which is looked at first (E19, E31)',
    run: { seed: 1_003_291, owners: true },
    actions: [
      { kind: 'mutate', seed: 1044552664 },
      { kind: 'connect', seed: 1584491210 },
      { kind: 'work', seed: 338080138 },
      { kind: 'mutate', seed: 34263678 },
      { kind: 'mutate', seed: 628414068 },
      { kind: 'lose hints', seed: 152376728 },
      { kind: 'deliver hints', seed: 272680171 },
      { kind: 'work', seed: 767331328 },
      { kind: 'wait', seed: 1053930286 },
      { kind: 'mutate', seed: 507860770 },
      { kind: 'work', seed: 1365037013 },
      { kind: 'mutate', seed: 827262814 },
      { kind: 'server reads', seed: 1694405878 },
      { kind: 'watcher reads', seed: 1365896120 },
      { kind: 'mutate', seed: 1505856641 },
      { kind: 'work', seed: 2082738184 },
    ],
  },
  {
    what: 'one of two names of a file is edited in the replica, while the other one is on its way (E19)',
    run: { seed: 1_003_476 },
    actions: [
      { kind: 'mutate', seed: 303590773 },
      { kind: 'mutate', seed: 647771611 },
      { kind: 'mutate', seed: 971068668 },
      { kind: 'connect', seed: 1052593244 },
      { kind: 'work', seed: 119051525 },
      { kind: 'mutate', seed: 1109859996 },
      { kind: 'mutate', seed: 568185344 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 586898758 },
      { kind: 'scan', seed: 2056326641 },
      { kind: 'work', seed: 1366954432 },
      { kind: 'server reads', seed: 1086292117 },
      { kind: 'wait', seed: 320439178 },
      { kind: 'replica is edited', seed: 212990177 },
      { kind: 'work', seed: 1902833402 },
      { kind: 'watcher reads', seed: 474160514 },
      { kind: 'work', seed: 1835323643 },
      { kind: 'server reads', seed: 1562992885 },
    ],
  },
  {
    what: 'one of three names of a file is removed after all that is known of their links was forgotten (E19)',
    run: { seed: 1_009_830 },
    actions: [
      { kind: 'mutate', seed: 1053987585 },
      { kind: 'mutate', seed: 1068758769 },
      { kind: 'mutate', seed: 1826470177 },
      { kind: 'mutate', seed: 1908319464 },
      { kind: 'mutate', seed: 1015829298 },
      { kind: 'mutate', seed: 1820952805 },
      { kind: 'mutate', seed: 723705678 },
      { kind: 'mutate', seed: 2033692309 },
      { kind: 'mutate', seed: 476465346 },
      { kind: 'settle', seed: 0 },
      { kind: 'replica is edited', seed: 232849172 },
      { kind: 'mutate', seed: 872967302 },
    ],
  },
  {
    what: 'a file is edited in the replica, and renamed into another directory before the watcher hears of that (E94)',
    run: { seed: 5_008_625 },
    actions: [
      { kind: 'mutate', seed: 2065236148 },
      { kind: 'mutate', seed: 1407022149 },
      { kind: 'mutate', seed: 1871632495 },
      { kind: 'mutate', seed: 1938251612 },
      { kind: 'settle', seed: 0 },
      { kind: 'lose hints', seed: 1824770679 },
      { kind: 'deliver hints', seed: 1817133118 },
      { kind: 'wait', seed: 592355021 },
      { kind: 'work', seed: 1082969422 },
      { kind: 'replica is edited', seed: 1913540012 },
      { kind: 'mutate', seed: 2146860643 },
      { kind: 'scan', seed: 2129944014 },
      { kind: 'work', seed: 1765546696 },
      { kind: 'work', seed: 3838287 },
    ],
  },
  {
    what: 'a file that got a second name is replaced, and what takes its name does not fit into the batch of the rename (E19, E61)',
    run: { seed: 7_005_343 },
    actions: [
      { kind: 'mutate', seed: 1728269609 },
      { kind: 'mutate', seed: 1115770972 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 620982707 },
      { kind: 'mutate', seed: 1101650799 },
      { kind: 'flush', seed: 1607797274 },
      { kind: 'wait', seed: 1573117978 },
      { kind: 'mutate', seed: 628067695 },
      { kind: 'work', seed: 444517308 },
      { kind: 'deliver hints', seed: 1020129699 },
      { kind: 'wait', seed: 1361661901 },
      { kind: 'work', seed: 384627082 },
      { kind: 'server reads', seed: 110014460 },
    ],
  },
  {
    what: 'a large file is removed after it was read and before it is put, and hints are lost (E27)',
    run: { seed: 7_011_605 },
    actions: [
      { kind: 'connect', seed: 68472466 },
      { kind: 'mutate', seed: 1248131746 },
      { kind: 'mutate', seed: 1912649909 },
      { kind: 'work', seed: 1756070731 },
      { kind: 'work', seed: 801822827 },
      { kind: 'server reads', seed: 1483373703 },
      { kind: 'mutate', seed: 299375428 },
      { kind: 'lose hints', seed: 1044444105 },
      { kind: 'deliver hints', seed: 1188811611 },
      { kind: 'work', seed: 703102765 },
    ],
  },
  {
    what: 'something new in a directory that took the place of another one is heard of before that (E31, E64)',
    run: { seed: 7_011_813 },
    actions: [
      { kind: 'mutate', seed: 1727151500 },
      { kind: 'mutate', seed: 1264613852 },
      { kind: 'mutate', seed: 202742297 },
      { kind: 'mutate', seed: 772548976 },
      { kind: 'mutate', seed: 322927475 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 1636005062 },
      { kind: 'mutate', seed: 277833122 },
      { kind: 'mutate', seed: 219614612 },
      { kind: 'watcher crashes', seed: 1793186992 },
      { kind: 'mutate', seed: 990700466 },
      { kind: 'flush', seed: 413720988 },
      { kind: 'wait', seed: 623267929 },
    ],
  },
  {
    what: 'new names of a file are linked to each other, while its old one is found as the server has it (E19)',
    run: { seed: 7_030_239 },
    actions: [
      { kind: 'mutate', seed: 979808973 },
      { kind: 'mutate', seed: 60943042 },
      { kind: 'connect', seed: 1409520496 },
      { kind: 'work', seed: 457095065 },
      { kind: 'server reads', seed: 405553832 },
      { kind: 'power is cut', seed: 793894151 },
      { kind: 'mutate', seed: 1180181638 },
      { kind: 'mutate', seed: 2136142403 },
      { kind: 'lose hints', seed: 1026194016 },
    ],
  },
  {
    what: 'a new directory cannot be looked at when it is heard of, and is looked through when something in it is (E25)',
    run: { seed: 8_001_312 },
    actions: [
      { kind: 'connect', seed: 634719240 },
      { kind: 'work', seed: 2062600228 },
      { kind: 'mutate', seed: 456244053 },
      { kind: 'mutate', seed: 1709771939 },
      { kind: 'listing fails', seed: 2065147520 },
      { kind: 'deliver hints', seed: 616529800 },
      { kind: 'wait', seed: 1812772136 },
      { kind: 'work', seed: 1490798239 },
      { kind: 'work', seed: 1078153800 },
      { kind: 'mutate', seed: 1088325311 },
    ],
  },
  {
    what: 'a file changes while it is uploaded, and cannot be looked at then (E36, E50)',
    run: { seed: 8_010_465 },
    actions: [
      { kind: 'connect', seed: 892204403 },
      { kind: 'mutate', seed: 1092372609 },
      { kind: 'deliver hints', seed: 695749761 },
      { kind: 'work', seed: 72781520 },
      { kind: 'work', seed: 1124948115 },
      { kind: 'server reads', seed: 481854288 },
      { kind: 'mutate', seed: 1437645350 },
      { kind: 'wait', seed: 2012717228 },
      { kind: 'deliver hints', seed: 841452435 },
      { kind: 'listing fails', seed: 1517871432 },
      { kind: 'work', seed: 427806572 },
    ],
  },
  {
    what: 'a renamed file makes room for a directory, that another one goes into whose path it takes (E60, E61)',
    run: { seed: 8_020_832 },
    actions: [
      { kind: 'mutate', seed: 769160897 },
      { kind: 'mutate', seed: 822308218 },
      { kind: 'mutate', seed: 1765825322 },
      { kind: 'mutate', seed: 1333488745 },
      { kind: 'connect', seed: 1756917732 },
      { kind: 'flush', seed: 1090921606 },
      { kind: 'work', seed: 1288992666 },
      { kind: 'work', seed: 1900866053 },
      { kind: 'server reads', seed: 435900091 },
      { kind: 'mutate', seed: 1318201246 },
      { kind: 'mutate', seed: 1598689161 },
      { kind: 'mutate', seed: 1963831750 },
      { kind: 'watcher reads', seed: 954576740 },
      { kind: 'server reads', seed: 117537992 },
      { kind: 'watcher reads', seed: 150613215 },
      { kind: 'no descriptors', seed: 243398429 },
      { kind: 'deliver hints', seed: 214861911 },
      { kind: 'wait', seed: 757288873 },
      { kind: 'mutate', seed: 1451576685 },
      { kind: 'work', seed: 1114956000 },
    ],
  },
  {
    what: 'a file that was edited in the replica is moved out of a directory that is removed at the same time (E95)',
    run: { seed: 6_011_972 },
    actions: [
      { kind: 'mutate', seed: 1555293363 },
      { kind: 'mutate', seed: 1681730611 },
      { kind: 'mutate', seed: 2107147981 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 1380716104 },
      { kind: 'mutate', seed: 1168335608 },
      { kind: 'deliver hints', seed: 2082489459 },
      { kind: 'replica is edited', seed: 1956510800 },
      { kind: 'wait', seed: 838119871 },
      { kind: 'work', seed: 1785711403 },
      { kind: 'server reads', seed: 1276956159 },
    ],
  },
  {
    what: 'a file is moved out of a directory that goes with the same batch, and was edited in the replica before (E95, E19)',
    run: { seed: 8_029_739 },
    actions: [
      { kind: 'mutate', seed: 257077515 },
      { kind: 'mutate', seed: 221770744 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 1879644880 },
      { kind: 'listing fails', seed: 1087130964 },
      { kind: 'deliver hints', seed: 577925700 },
      { kind: 'wait', seed: 2138442202 },
      { kind: 'work', seed: 488645665 },
      { kind: 'scan', seed: 1790517260 },
      { kind: 'work', seed: 964605125 },
      { kind: 'flush', seed: 1318575175 },
      { kind: 'work', seed: 399535609 },
      { kind: 'replica is edited', seed: 1507721510 },
      { kind: 'server reads', seed: 2003384202 },
    ],
  },
  {
    what: 'a directory goes into a new one that takes its name, and another one with it (E64)',
    run: { seed: 8_038_123 },
    actions: [
      { kind: 'mutate', seed: 2040883154 },
      { kind: 'mutate', seed: 1480430230 },
      { kind: 'mutate', seed: 646058546 },
      { kind: 'mutate', seed: 346936749 },
      { kind: 'mutate', seed: 686704132 },
      { kind: 'mutate', seed: 1723909647 },
      { kind: 'mutate', seed: 1690407237 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 534637755 },
      { kind: 'mutate', seed: 844315568 },
      { kind: 'mutate', seed: 1266001914 },
    ],
  },
  {
    what: 'names of one file get new metadata together, and a sync fails before the checkpoint (E19, E86)',
    run: { seed: 8_040_198 },
    actions: [
      { kind: 'mutate', seed: 433197543 },
      { kind: 'connect', seed: 690971439 },
      { kind: 'work', seed: 177057406 },
      { kind: 'server reads', seed: 1800313059 },
      { kind: 'mutate', seed: 2031624022 },
      { kind: 'mutate', seed: 9839443 },
      { kind: 'watcher reads', seed: 846849713 },
      { kind: 'power is cut', seed: 1769514870 },
      { kind: 'replica is edited', seed: 1316462553 },
      { kind: 'syncs fail', seed: 1949450918 },
      { kind: 'connect', seed: 1702578735 },
      { kind: 'connect', seed: 1539955276 },
      { kind: 'mutate', seed: 1370881330 },
      { kind: 'server reads', seed: 2104162831 },
      { kind: 'mutate', seed: 874860391 },
      { kind: 'checkpoint', seed: 727983812 },
      { kind: 'watcher reads', seed: 466198977 },
      { kind: 'work', seed: 1114307025 },
      { kind: 'mutate', seed: 1887142245 },
      { kind: 'settle', seed: 0 },
      { kind: 'checkpoint', seed: 1201590587 },
    ],
  },
  {
    what: 'a file that got a second name is renamed, and written through its newest one before that is answered for (E19, E60)',
    run: { seed: 6_819 },
    actions: [
      { kind: 'mutate', seed: 2121603209 },
      { kind: 'mutate', seed: 1611657122 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 1154341758 },
      { kind: 'deliver hints', seed: 1910715719 },
      { kind: 'mutate', seed: 441956805 },
      { kind: 'wait', seed: 1942453743 },
      { kind: 'work', seed: 1747828787 },
      { kind: 'mutate', seed: 1599716181 },
      { kind: 'mutate', seed: 13393745 },
      { kind: 'deliver hints', seed: 64374041 },
      { kind: 'wait', seed: 547640828 },
    ],
  },
  {
    what: 'a sync fails while the clock is not that of the file system (E86, E117)',
    run: { seed: 97 },
    actions: [
      { kind: 'mutate', seed: 593142137 },
      { kind: 'mutate', seed: 1047242469 },
      { kind: 'mutate', seed: 250146408 },
      { kind: 'settle', seed: 0 },
      { kind: 'clock jumps', seed: 1508872232 },
      { kind: 'mutate', seed: 2077564412 },
      { kind: 'syncs fail', seed: 1002202646 },
      { kind: 'checkpoint', seed: 1540661461 },
      { kind: 'settle', seed: 0 },
      { kind: 'checkpoint', seed: 49540806 },
      { kind: 'power is cut', seed: 943654988 },
    ],
  },
  {
    what: 'a rename fails on the disk of the server, and its old name is looked at first (E50, E60)',
    run: { seed: 932 },
    actions: [
      { kind: 'mutate', seed: 667780293 },
      { kind: 'mutate', seed: 2091416567 },
      { kind: 'mutate', seed: 255152912 },
      { kind: 'mutate', seed: 1523090418 },
      { kind: 'settle', seed: 0 },
      { kind: 'disk fails', seed: 704774601 },
      { kind: 'mutate', seed: 1098425923 },
      { kind: 'mutate', seed: 823386432 },
      { kind: 'flush', seed: 914813419 },
      { kind: 'wait', seed: 1035068625 },
      { kind: 'work', seed: 1703923352 },
      { kind: 'work', seed: 596386757 },
    ],
  },
  {
    what: 'a group fails after one of its changes has, and power is cut after its recovery (E86, E92)',
    run: { seed: 1_580 },
    actions: [
      { kind: 'mutate', seed: 1518441731 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 617256706 },
      { kind: 'disk fails', seed: 887804934 },
      { kind: 'deliver hints', seed: 178015638 },
      { kind: 'wait', seed: 1100104891 },
      { kind: 'work', seed: 664855718 },
      { kind: 'server reads', seed: 1580579903 },
      { kind: 'power is cut', seed: 2136595392 },
    ],
  },
  {
    what: 'a second name of a file cannot be made because the disk is full for a moment (E19, E88)',
    run: { seed: 17_175 },
    actions: [
      { kind: 'mutate', seed: 579308839 },
      { kind: 'mutate', seed: 1470662612 },
      { kind: 'mutate', seed: 1245197922 },
      { kind: 'settle', seed: 0 },
      { kind: 'mutate', seed: 1972177718 },
      { kind: 'deliver hints', seed: 535204023 },
      { kind: 'wait', seed: 397643373 },
      { kind: 'disk fails', seed: 1033953400 },
      { kind: 'work', seed: 2105247665 },
      { kind: 'server reads', seed: 548704245 },
    ],
  },
  {
    what: 'a new directory that could not be looked at is there when all is looked through (E49, E123)',
    run: { seed: 102 },
    actions: [
      { kind: 'mutate', seed: 1611687547 },
      { kind: 'listing fails', seed: 1558614794 },
      { kind: 'connect', seed: 406614386 },
      { kind: 'deliver hints', seed: 934442457 },
      { kind: 'wait', seed: 1515241346 },
      { kind: 'work', seed: 218891064 },
      { kind: 'scan', seed: 881087126 },
    ],
  },
];

describe('the simulation', function () {
  this.timeout(0);
  let base: string;
  let players: Players;
  before(() => {
    base = temporaryDirectory();
    players = new Players(base);
  });
  after(async () => {
    await players.close();
    removeDirectory(base);
  });

  /** @throws at the first failure, with its seed and what is left of it */
  async function playSeeds(runs: readonly SeededRun[]): Promise<void> {
    const failed = (await players.play(runs)).find(isFailure);
    if (failed === undefined) return;
    const { failure, ...run } = failed;
    const left = await shrink(actionsOfSeed(run.seed), async (fewer) => {
      const played = play(run, join(base, 'run'), fewer);
      return await played.then(
        () => false,
        () => true,
      );
    });
    throw new Error(`LOCKSTEP_TEST_SEED=${run.seed}: ${failure}\n  what is left of it: ${JSON.stringify(left)}`);
  }

  it(`ends equal for ${SEEDS} seeds, whatever is cut, lost, late or killed (E19, F01 to F12)`, async () => {
    await playSeeds(runsOf(SEEDS).filter(({ seed }) => !keepsOwners(seed)));
  });

  it('ends with equal owners, too, where both sides keep them (E79, E19)', async function () {
    if (!MAY_GIVE_AWAY) skipBecause(this, 'only root may give files to others');
    await playSeeds(runsOf(SEEDS, { owners: true }).filter(({ seed }) => keepsOwners(seed)));
  });

  for (const { what, run, actions } of KEPT) {
    it(`ends equal when ${what}`, async function () {
      if (run.owners === true && !MAY_GIVE_AWAY) skipBecause(this, 'only root may give files to others');
      await play(run, join(base, 'run'), actions);
    });
  }

  it('does the same again for the same seed, in whatever process', async () => {
    const runs = runsOf(RUNS_TO_REPEAT);
    const outcomes = await players.play(runs);
    for (const run of runs) {
      const traceHash = await play(run, join(base, 'run'));
      expect(outcomes).to.deep.include({ ...run, traceHash });
    }
  });

  for (const fault of FAULTS) {
    it(`finds it when ${fault}`, async () => {
      const outcomes = await players.play(runsOf(RUNS_TO_FIND, { fault }));
      if (!outcomes.some(isFailure)) throw new Error(`not found in ${RUNS_TO_FIND} runs`);
    });
  }
});

function runsOf(count: number, options: Omit<SeededRun, 'seed'> = {}): readonly SeededRun[] {
  return Array.from({ length: count }, (_, number) => ({ seed: FIRST_SEED + number, ...options }));
}

function keepsOwners(seed: number): boolean {
  return MAY_GIVE_AWAY && seed % RUNS_PER_OWNED_ONE === 0;
}
