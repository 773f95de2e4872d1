import { cp, lstat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Site, until, type HostView, type Machine } from '../faults/site.ts';
import {
  openTab,
  overflowsSideways,
  PHONE,
  signInAs,
  startBrowser,
  takeScreenshots,
  type Tab,
} from '../support/browser.ts';
import { ADMIN_EMAIL } from '../support/rookery.ts';
import { ADMIN_PASSWORD } from '../support/split.ts';
import { Story } from '../support/story.ts';

/** Long enough for a browser on a busy machine to see that control listens, in ms. */
const LEASE_MS = 20_000;

/** For whatever the browser waits for: several processes share a machine with it. In ms. */
const DEADLINE_MS = 60_000;

/** For a lease to pass without a stall of control, after which it begins anew. */
const LEASES = { timeout: 6 * LEASE_MS };

describe('an operator in the browser: a restart, commands, and a machine that was copied', () => {
  const story = new Story();
  let site: Site;
  let browser: Browser;
  let tab: Tab;
  let page: Page;
  let original: Machine;
  let host: HostView;

  beforeAll(async () => {
    [site, browser] = await Promise.all([
      Site.start(story, { ROOKERY_UNREACHABLE_AFTER_MS: String(LEASE_MS) }),
      startBrowser(),
    ]);
    original = await site.machine('original');
    [host, tab] = await Promise.all([site.hostOn(original, 'nest'), openTab(browser, site.split.url)]);
    tab.context.setDefaultTimeout(DEADLINE_MS);
    page = tab.page;
  });
  afterAll(() => browser?.close());

  const banner = (state: string): Locator => page.locator(`[data-testid="health-banner"][data-state="${state}"]`);

  it('is told of a restart that nobody is judged yet, and sees every task of the server', async () => {
    await page.goto('/admin/health');
    await signInAs(page, ADMIN_EMAIL, ADMIN_PASSWORD);
    await page.getByRole('heading', { name: 'Fleet health', level: 1 }).waitFor();
    await page.getByRole('row', { name: 'host-monitor' }).waitFor();

    await site.killControl();
    await banner('UNKNOWN').waitFor();
    await site.startControl();
    // Why is another question: a busy machine may stall control right after its start.
    await banner('OBSERVING').waitFor();
    await page.getByTestId('health-title').getByText('Hosts are given time').waitFor();
    await page
      .getByRole('table', { name: /^Tasks of server/ })
      .first()
      .waitFor();
    await takeScreenshots(page, 'health-observing');
  });

  it('reads what a command prints while it runs, and stops it', async () => {
    await site.untilOnline(host.id);
    const sandbox = await site.fleet.createSandbox('box', host.id);
    await until(async () => expect(await site.fleet.shell(sandbox.id, 'echo up')).toBe('up\n'));
    await page.goto(`/sandboxes/${encodeURIComponent(sandbox.id)}`);
    const field = page.getByRole('textbox', { name: 'Command' });
    await field.waitFor();
    // What the browser itself noted of a server that was away was expected.
    tab.errors.length = 0;
    const run = async (line: string): Promise<Locator> => {
      await field.fill(line);
      await field.press('Enter');
      return page.getByTestId('command-run').last();
    };
    const left = (pattern: string) =>
      until(async () => expect(await site.fleet.shell(sandbox.id, `pgrep -cf "${pattern}" || true`)).toBe('0\n'));

    const mixed = await run('echo out; echo err >&2; exit 3');
    await mixed.getByText('exit 3', { exact: true }).waitFor();
    await mixed.locator('[data-stream="STDOUT"]').getByText('out').waitFor();
    await mixed.locator('[data-stream="STDERR"]').getByText('err').waitFor();

    const endless = await run('sleep 4711 & n=0; while :; do echo tick $((n=n+1)); sleep 0.2; done');
    await endless.getByText('tick 3').waitFor();
    await takeScreenshots(page, 'command-running');
    await page.getByRole('button', { name: 'Stop', exact: true }).click();
    await endless.getByText('stopped').waitFor();
    await left('^sleep 4711');

    await run('sleep 4712');
    await page.getByRole('button', { name: 'Stop', exact: true }).waitFor();
    await field.press('Escape');
    await page.getByRole('button', { name: 'Run', exact: true }).waitFor();
    await left('^sleep 4712');

    const long = await run('seq 1 60000');
    await long.getByText('exit 0', { exact: true }).waitFor();
    await long.getByTestId('cut').waitFor();
    expect(await long.getByTestId('output').innerText()).toMatch(/\b59999\s+60000\s*$/);
    await takeScreenshots(page, 'commands');
    await page.setViewportSize(PHONE);
    expect(await overflowsSideways(page)).toBe(false);
    await page.setViewportSize({ width: 1440, height: 900 });
    await site.fleet.destroySandbox(sandbox.id);
  });

  it('sees both machines of a host that was copied, and decides with a new token which of them it is', async () => {
    await page.goto(`/hosts/${encodeURIComponent(host.id)}`);
    await page.getByRole('region', { name: 'Credentials' }).getByText('Working', { exact: true }).waitFor();
    await takeScreenshots(page, 'host');

    const copy = await site.machine('copy');
    await copyEverything(original, copy);
    copy.run({ ROOKERY_AGENT_MACHINE_ID: 'machine-b' });
    const panel = page.getByRole('region', { name: 'Credentials' });
    await panel.getByText('Used by two machines', { exact: true }).waitFor();
    await panel.getByTestId('machine').nth(1).waitFor();
    await panel.getByText('machine-b').waitFor();
    await page.getByRole('list', { name: 'Conditions' }).getByText('Used by two machines').waitFor();
    await takeScreenshots(page, 'host-copied');

    await panel.getByRole('button', { name: 'Make a new token' }).click();
    const dialog = page.getByRole('dialog', { name: 'New token for nest' });
    const make = dialog.getByRole('button', { name: 'Make a new token' });
    expect(await make.isDisabled()).toBe(true);
    await dialog.getByRole('checkbox').check();
    await takeScreenshots(page, 'new-token');
    await make.click();
    const reveal = page.getByRole('dialog', { name: 'Join this host' });
    await reveal.getByText('Waiting for the host').waitFor();
    await reveal.getByRole('button', { name: 'Reveal token' }).click();
    await takeScreenshots(page, 'new-token-made');
    const token = (await reveal.getByTestId('registration-token').innerText()).trim();
    expect(await reveal.getByTestId('join-command').innerText()).toContain(token);

    await Promise.all([original.agent.stop(), copy.agent.stop()]);
    original.join(token);
    await reveal.getByText('The host has joined.').waitFor();
    await reveal.getByRole('button', { name: 'Done' }).click();
    await panel.getByText('Used by two machines', { exact: true }).waitFor({ state: 'detached' });
    await panel.getByText('Working', { exact: true }).waitFor();
    expect(await panel.getByTestId('machine').count()).toBe(1);
    expect(await site.host(host.id)).toMatchObject({ status: 'ONLINE', schedulable: true });

    await page.setViewportSize(PHONE);
    expect(await overflowsSideways(page)).toBe(false);
  });

  it('reads in the end that all is as usual, and all of it went without an error', async () => {
    await page.goto('/admin/health');
    await page.getByTestId('health-title').getByText('All is as usual.').waitFor(LEASES);
    await page.getByTestId('health-banner').waitFor({ state: 'detached' });
    await takeScreenshots(page, 'health');
    expect(await overflowsSideways(page)).toBe(false);
    expect(tab.errors).toEqual([]);
  });
});

/**
 * The whole state directory, as a copied disk has it. Its lock names a process, which another machine does not have
 * but this one does; what is no file, like a socket, does not outlive a process. Its agent goes on writing meanwhile,
 * so what is half written is left out, and what vanishes is a reason to begin again.
 */
async function copyEverything(from: Machine, to: Machine): Promise<void> {
  const isCopied = async (path: string): Promise<boolean> => {
    if (path === join(from.stateDir, 'agent.pid') || path.endsWith('.tmp')) return false;
    const found = await lstat(path);
    return found.isFile() || found.isDirectory() || found.isSymbolicLink();
  };
  await until(() => cp(from.stateDir, to.stateDir, { recursive: true, filter: isCopied }));
}
