import { hostname } from 'node:os';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { Api } from '../support/api.ts';
import { openTab, overflowsSideways, PHONE, startBrowser, takeScreenshots, type Tab } from '../support/browser.ts';
import { Fleet } from '../support/fleet.ts';
import { ADMIN_EMAIL, newPlace, startRookery, type Rookery } from '../support/rookery.ts';
import { NOTHING, Story } from '../support/story.ts';

const ADMIN_PASSWORD = 'correct horse battery';
const PATIENCE = { timeout: 30_000, interval: 200 };

const EXEC = `mutation ($input: ExecInSandboxInput!) { execInSandbox(input: $input) {
  __typename ... on ExecCompleted { exitCode stdout } ... on UserError { code message } } }`;

describe('sandboxes are paused, resumed and moved out of the way, and the dashboard shows it live', () => {
  const story = new Story();
  const local = hostname();
  let rookery: Rookery;
  let browser: Browser;
  let tab: Tab;
  let page: Page;
  let api: Api;
  let fleet: Fleet;

  beforeAll(async () => {
    [rookery, browser] = await Promise.all([
      newPlace(story).then((place) => startRookery(story, place, { ROOKERY_ADMIN_PASSWORD: ADMIN_PASSWORD })),
      startBrowser(),
    ]);
    tab = await openTab(browser, rookery.url);
    page = tab.page;
    api = await Api.signIn(rookery.url, ADMIN_EMAIL, ADMIN_PASSWORD);
    fleet = new Fleet(api);
  });
  afterAll(() => browser?.close());

  const row = (name: string): Locator =>
    page.getByRole('table', { name: 'Sandboxes' }).getByRole('row', { name, exact: true });

  async function create(name: string, more: object = {}): Promise<string> {
    const { createSandbox } = await api.request<{ createSandbox: { sandbox: { id: string } } }>(
      'mutation ($input: CreateSandboxInput!) { createSandbox(input: $input) { ... on SandboxCreated { sandbox { id } } } }',
      { input: { teamId: await fleet.teamId(), name, vcpus: 0.1, memoryMb: 64, diskMb: 64, ...more } },
    );
    return createSandbox.sandbox.id;
  }

  const exec = async (sandboxId: string, ...command: string[]) =>
    (
      await api.request<{ execInSandbox: { __typename: string; exitCode?: number; stdout?: string; code?: string } }>(
        EXEC,
        {
          input: { sandboxId, command },
        },
      )
    ).execInSandbox;

  const statusOf = async (name: string) => (await fleet.sandboxes()).find((sandbox) => sandbox.name === name);

  it('pauses a sandbox from its row and resumes it from its page, with its memory', async () => {
    const id = await create('thinker');
    await page.goto('/sandboxes');
    await page.getByLabel('Email').fill(ADMIN_EMAIL);
    await page.getByLabel('Password').fill(ADMIN_PASSWORD);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await row('thinker').getByText('Running').waitFor();
    // A process that counts, and does not while it is frozen.
    await exec(
      id,
      'sh',
      '-c',
      '(i=0; while :; do i=$((i+1)); echo $i >/root/count; sleep 0.1; done) >/dev/null 2>&1 &',
    );
    await row('thinker').getByRole('button', { name: 'Pause thinker' }).click();
    await row('thinker').getByText('Paused', { exact: true }).waitFor();
    await takeScreenshots(page, 'sandboxes-paused');
    expect(await exec(id, 'true')).toMatchObject({ __typename: 'SandboxNotRunning' });

    await row('thinker').getByRole('link', { name: 'thinker' }).click();
    await page.getByRole('heading', { name: 'thinker', level: 1 }).waitFor();
    await page.getByText('Paused on request.').waitFor();
    await takeScreenshots(page, 'sandbox-paused');
    await page.getByRole('button', { name: 'Resume', exact: true }).click();
    await page.getByRole('button', { name: 'Pause', exact: true }).waitFor();
    const counted = async (): Promise<number> => {
      const outcome = await exec(id, 'cat', '/root/count');
      expect(outcome).toMatchObject({ exitCode: 0 });
      return Number(outcome.stdout);
    };
    const before = await counted();
    await vi.waitFor(async () => expect(await counted()).toBeGreaterThan(before), PATIENCE);
  });

  it('pauses what is idle by itself, and a command resumes it', async () => {
    const id = await create('sleeper', { timeoutSeconds: 2 });
    await vi.waitFor(
      async () =>
        expect(await statusOf('sleeper')).toMatchObject({
          status: 'PAUSED',
          statusReason: 'Paused after 2 s without activity.',
        }),
      PATIENCE,
    );
    expect(await exec(id, 'echo', 'awake')).toMatchObject({ exitCode: 0, stdout: 'awake\n' });
    await vi.waitFor(async () => expect((await statusOf('sleeper'))?.status).toBe('PAUSED'), PATIENCE);
  });

  it('cordons, drains and uncordons a host from its page', async () => {
    await page.goto('/admin/hosts');
    await page.getByRole('table', { name: 'Hosts' }).getByRole('link', { name: local }).click();
    await page.getByRole('button', { name: 'Cordon', exact: true }).click();
    await page.getByRole('list', { name: 'Conditions' }).getByText('Cordoned', { exact: true }).waitFor();
    await page.getByRole('button', { name: 'Uncordon', exact: true }).click();
    await page.getByRole('list', { name: 'Conditions' }).waitFor({ state: 'detached' });

    await page.getByRole('button', { name: 'Drain', exact: true }).click();
    const dialog = page.getByRole('dialog', { name: `Drain ${local}?` });
    await dialog.getByRole('button', { name: 'Drain host' }).waitFor();
    await takeScreenshots(page, 'drain-dialog');
    await dialog.getByRole('button', { name: 'Drain host' }).click();
    await page.getByText('Drained', { exact: true }).waitFor();
    await row('thinker').getByText('Paused', { exact: true }).waitFor();
    expect(await statusOf('thinker')).toMatchObject({ statusReason: 'Paused because its host was drained.' });
    await takeScreenshots(page, 'host-drained');
    await page.getByRole('button', { name: 'Uncordon', exact: true }).click();
    await page.getByRole('button', { name: 'Cordon', exact: true }).waitFor();
    await page.getByText('Drained', { exact: true }).waitFor({ state: 'detached' });
  });

  it('is usable on a phone, and all of it went without an error', async () => {
    await page.setViewportSize(PHONE);
    for (const path of ['/sandboxes', '/admin/hosts']) {
      await page.goto(path);
      await page.locator('[data-sandbox-id], [data-host-id]').first().waitFor();
      expect(await overflowsSideways(page)).toBe(false);
    }
    await page.getByRole('table', { name: 'Hosts' }).getByRole('link', { name: local }).click();
    await page.getByRole('button', { name: 'Drain', exact: true }).waitFor();
    expect(await overflowsSideways(page)).toBe(false);
    expect(tab.errors).toEqual([]);
  });

  it('destroys a paused sandbox, says at the terminal that the machine’s host was deleted, and leaves nothing', async () => {
    await page.goto('/sandboxes');
    await page.getByRole('button', { name: 'Destroy sleeper' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Destroy sandbox' }).click();
    await row('sleeper').waitFor({ state: 'detached' });
    const [host] = await fleet.hosts();
    const { host: seen } = await api.request<{ host: { deletionPreview: { previewDigest: string } } }>(
      'query ($id: ID!) { host(id: $id) { deletionPreview { previewDigest } } }',
      { id: host?.id },
    );
    await api.request('mutation ($input: DeleteHostInput!) { deleteHost(input: $input) { __typename } }', {
      input: { hostId: host?.id, force: true, previewDigest: seen.deletionPreview.previewDigest },
    });
    await rookery.process.waitForOutput(/This machine’s host was deleted; restart to register it again\./, 20_000);
    expect(await fleet.sandboxes()).toEqual([]);
    await browser.close();
    await rookery.stop();
    const { containers, mounts } = await story.leftovers();
    expect({ containers, mounts }).toEqual({ containers: NOTHING.containers, mounts: NOTHING.mounts });
  });
});
