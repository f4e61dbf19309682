/**
 * The status page in a real browser, beside two real programs: what it shows while a folder is at work, and that no name
 * can become more than text.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { type BrowserContext, chromium, type Page } from 'playwright-core';
import { parseAddress, type TcpAddress } from '../../../common/rpc/address.ts';
import { programOnPath } from '../../support/on-path.ts';
import type { Pair } from '../../support/pair.ts';
import { skipBecause, usePairs } from '../../support/pair-hooks.ts';
import { putFile, SyncFixture } from '../../support/sync-fixture.ts';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];
const WITHIN = { timeout: 15_000 };
const HOSTILE = ['<img src=x onerror=alert(1)>', '"><script>alert(1)', '&lt;b&gt;', '\u202eabc'];

describe('status page in a browser', function () {
  this.timeout(60_000);
  const pairs = usePairs();
  let context: BrowserContext | undefined;
  let profile = '';
  let trouble: string[] = [];

  beforeEach(async function () {
    const executablePath = programOnPath('chromium') ?? programOnPath('chromium-browser');
    if (executablePath === undefined) skipBecause(this, 'no chromium on the PATH');
    profile = mkdtempSync(join(tmpdir(), 'lockstep-browser-'));
    context = await chromium.launchPersistentContext(profile, { executablePath, headless: true, args: FLAGS });
  });
  afterEach(async () => {
    await context?.close();
    context = undefined;
    if (profile !== '') rmSync(profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 });
  });

  async function opened(): Promise<{ readonly pair: Pair; readonly page: Page }> {
    const pair = await pairs.start({ serverFlags: ['--http', '127.0.0.1:0'] });
    const page = await newPage(httpAddressOf(pair));
    await page.getByText('live', { exact: true }).waitFor(WITHIN);
    return { pair, page };
  }

  async function newPage(address: string): Promise<Page> {
    if (context === undefined) throw new Error('no browser');
    const page = await context.newPage();
    trouble = [];
    page.on('pageerror', (error) => trouble.push(error.message));
    page.on('console', (message) => trouble.push(message.text()));
    page.on('dialog', (dialog) => {
      trouble.push(`dialog: ${dialog.message()}`);
      void dialog.dismiss();
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(address)) trouble.push(`asked for ${request.url()}`);
    });
    await page.goto(address);
    return page;
  }

  it('follows a folder at work, and shows every name as text (S28)', async () => {
    const { pair, page } = await opened();
    for (const name of HOSTILE) writeFileSync(join(pair.source, name), 'content');
    for (const name of HOSTILE)
      await page.locator('#changes .where').getByText(shown(name), { exact: true }).first().waitFor(WITHIN);
    await page
      .getByRole('cell', { name: String(HOSTILE.length) })
      .first()
      .waitFor(WITHIN);
    expect(await page.getByRole('row').nth(1).textContent())
      .to.include('default')
      .and.include('ready')
      .and.include('connected since');
    // The charts move: a line has points once two samples are there.
    await page.locator('#chart-changes .line[d*="L"]').waitFor({ ...WITHIN, state: 'attached' });
    expect(await page.locator('main img, main script').count()).to.equal(0);

    await page.getByRole('button', { name: 'Pause' }).press('Enter');
    const before = await page.locator('#changes li').count();
    writeFileSync(join(pair.source, 'while-paused'), '');
    await pair.flush();
    expect(await page.locator('#changes li').count()).to.equal(before);
    await page.getByRole('button', { name: 'Resume', pressed: true }).press('Space');
    await page.locator('#changes .where').getByText('while-paused').first().waitFor(WITHIN);
    expect(trouble).to.deep.equal([]);
  });

  it('says when the server is gone', async () => {
    const { pair, page } = await opened();
    await pair.server.end('SIGKILL');
    await page.getByText('not connected').waitFor(WITHIN);
    expect(await page.locator('#connection').textContent()).to.include('what you see is old');
  });

  it('names a problem and its remedy', async () => {
    const fixture = await SyncFixture.start({ setup: { http: parseAddress('127.0.0.1:0') as TcpAddress } });
    try {
      await fixture.apply(putFile('missing/<b>bold<', '1'));
      const page = await newPage(`http://${fixture.server.http?.text}/`);
      const problem = page.getByRole('region', { name: 'Problems' }).getByRole('listitem');
      await problem.waitFor(WITHIN);
      expect(await problem.textContent())
        .to.include('missing/<b>bold<')
        .and.include('sorts this out by itself');
      await page.getByText('One problem.').waitFor(WITHIN);
      expect(trouble).to.deep.equal([]);
    } finally {
      await fixture.stop();
    }
  });

  it('can be used by keyboard and screen reader, in light, dark and on a phone', async () => {
    const { page } = await opened();
    for (const landmark of ['banner', 'main', 'contentinfo'] as const) {
      expect(await page.getByRole(landmark).count(), landmark).to.equal(1);
    }
    for (const name of ['Folders', 'Problems', 'Activity of the last two minutes', 'Changes', 'Checks']) {
      await page.getByRole('region', { name, exact: true }).waitFor(WITHIN);
      await page.getByRole('heading', { name, exact: true, level: 2 }).waitFor(WITHIN);
    }
    const headers = await page.getByRole('columnheader').allTextContents();
    expect(headers).to.deep.equal(['Folder', 'State', 'Revision', 'Entries', 'Size', 'Watcher', 'Lag']);
    await page.getByRole('rowheader', { name: 'default' }).waitFor(WITHIN);
    await page.keyboard.press('Tab');
    expect(await page.evaluate('document.activeElement.textContent')).to.equal('Skip to the folders');
    await page.keyboard.press('Enter');
    expect(await page.evaluate('document.activeElement.id')).to.equal('folders');
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await weakestContrast(page), colorScheme).to.be.at.least(4.5);
    }
    await page.setViewportSize({ width: 360, height: 740 });
    expect(await page.evaluate('document.documentElement.scrollWidth')).to.be.at.most(360);
    // The table is still one for who cannot see that its rows became cards.
    await page.getByRole('rowheader', { name: 'default' }).waitFor(WITHIN);
    await page.getByRole('cell', { name: 'ready' }).waitFor(WITHIN);
    expect(trouble).to.deep.equal([]);
  });
});

function httpAddressOf(pair: Pair): string {
  const line = pair.server.stderr.split('\n').find((text) => text.includes('"msg":"ready"')) ?? '{}';
  return `http://${String((JSON.parse(line) as { readonly http?: string }).http)}/`;
}

/** As the page writes a name: what cannot be seen is escaped. */
function shown(name: string): RegExp {
  return name.includes('\u202e') ? /abc/ : new RegExp(`^${name.replaceAll(/[^a-z0-9 ]/gi, '\\$&')}$`);
}

/** The lowest contrast of any text with what lies behind it (WCAG 2.2, 1.4.3). */
function weakestContrast(page: Page): Promise<number> {
  return page.evaluate(WEAKEST_CONTRAST);
}

/** Runs in the page, whose types are not those of this program. */
const WEAKEST_CONTRAST = `(() => {
  const parse = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const luminance = (color) => {
    const [red, green, blue] = parse(color).map((part) => {
      const share = part / 255;
      return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const backOf = (element) => {
    if (element === null) return 'rgb(255, 255, 255)';
    const color = getComputedStyle(element).backgroundColor;
    return parse(color)[3] === 0 ? backOf(element.parentElement) : color;
  };
  let weakest = 21;
  for (const element of document.querySelectorAll('body *')) {
    const isText = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim() !== '');
    if (!isText || element.getClientRects().length === 0) continue;
    const [light, dark] = [getComputedStyle(element).color, backOf(element)].map(luminance).sort((a, b) => b - a);
    weakest = Math.min(weakest, (light + 0.05) / (dark + 0.05));
  }
  return weakest;
})()`;
