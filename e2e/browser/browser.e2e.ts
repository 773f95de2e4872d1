import { hostname } from 'node:os';
import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { joinHost } from '../support/agent.ts';
import { Api } from '../support/api.ts';
import {
  goToSection,
  openTab,
  overflowsSideways,
  PHONE,
  signInAs,
  startBrowser,
  takeScreenshots,
  type Tab,
} from '../support/browser.ts';
import { Fleet } from '../support/fleet.ts';
import { ADMIN_EMAIL, newPlace, startRookery, type Rookery } from '../support/rookery.ts';
import { NOTHING, Story } from '../support/story.ts';

const ADMIN_PASSWORD = 'correct horse battery';

describe('the journey in the browser: from signing in to a host that came and went', () => {
  const story = new Story();
  const local = hostname();
  let rookery: Rookery;
  let browser: Browser;
  let tab: Tab;
  let page: Page;

  beforeAll(async () => {
    [rookery, browser] = await Promise.all([
      newPlace(story).then((place) => startRookery(story, place, { ROOKERY_ADMIN_PASSWORD: ADMIN_PASSWORD })),
      startBrowser(),
    ]);
    tab = await openTab(browser, rookery.url);
    page = tab.page;
  });

  afterAll(() => browser?.close());

  const row = (table: 'Hosts' | 'Platform hosts' | 'Sandboxes', name: string): Locator =>
    page.getByRole('table', { name: table, exact: true }).getByRole('row', { name, exact: true });
  const goTo = (section: 'Hosts' | 'Sandboxes'): Promise<void> => goToSection(page, section);
  const signIn = (password: string): Promise<void> => signInAs(page, ADMIN_EMAIL, password);

  async function createSandbox(name: string, host?: string): Promise<void> {
    await goTo('Sandboxes');
    await page.getByRole('button', { name: 'New sandbox' }).click();
    const dialog = page.getByRole('dialog', { name: 'New sandbox' });
    await dialog.getByLabel('Name').fill(name);
    if (host) await dialog.getByLabel('Host').selectOption({ label: host });
    await dialog.getByRole('button', { name: 'Create sandbox' }).click();
    await dialog.waitFor({ state: 'hidden' });
    await row('Sandboxes', name).getByText('Running').waitFor();
  }

  it('says in place that a password is wrong, and lets the right one in', async () => {
    await page.goto('/');
    await page.getByRole('heading', { name: 'Sign in to Rookery' }).waitFor();
    await signIn('not the password');
    await page.getByText(/wrong|not right|incorrect/i).waitFor();
    expect(new URL(page.url()).pathname).toBe('/sign-in');
    // The browser itself notes the 401; that one is expected.
    expect(tab.errors.splice(0)).toEqual([expect.stringContaining('401')]);
    await signIn(ADMIN_PASSWORD);
    await page.getByRole('heading', { name: 'Hosts', level: 1 }).waitFor();
    await page.getByRole('link', { name: 'See 1 platform host' }).click();
    await row('Platform hosts', local).getByText('Online').waitFor();
    await page.getByRole('link', { name: 'Back to Default' }).click();
    await page.getByRole('heading', { name: 'No hosts of your own yet' }).waitFor();
    // Gone if the page is ever loaded anew; all that follows arrives without that.
    await page.evaluate('window.sameLoad = true');
  });

  it('creates a sandbox, and shows what its commands print', async () => {
    await createSandbox('home');
    await row('Sandboxes', 'home').getByRole('link', { name: 'home' }).click();
    await page.getByRole('heading', { name: 'home', level: 1 }).waitFor();
    await page.getByRole('textbox', { name: 'Command' }).fill('echo hello; uname -a');
    await page.getByRole('button', { name: 'Run', exact: true }).click();
    const output = page.getByRole('log', { name: 'Command output' });
    await output.getByText(/hello\s+Linux home/).waitFor();
    await output.getByText('exit 0').waitFor();
    await takeScreenshots(page, 'sandbox');
  });

  it('registers a host, and shows it come online when its join command is run', async () => {
    await goTo('Hosts');
    await page.getByRole('button', { name: 'Register host', exact: true }).click();
    const form = page.getByRole('dialog', { name: 'Register host' });
    await form.getByLabel('Name').fill('second');
    await form.getByRole('button', { name: 'Register host' }).click();

    const dialog = page.getByRole('dialog', { name: 'Join this host' });
    await dialog.getByText('Waiting for the host').waitFor();
    await row('Hosts', 'second').getByText('Pending').waitFor({ state: 'attached' });
    expect(await dialog.getByTestId('join-command').innerText()).not.toContain('rkt_');
    await dialog.getByRole('button', { name: 'Reveal token' }).click();
    await takeScreenshots(page, 'register-host');
    const joinCommand = (await dialog.getByTestId('join-command').innerText()).replace(/^\$\s*/, '').trim();

    await joinHost(story, 'second', joinCommand);
    await dialog.getByText('Online.').waitFor();
    await dialog.getByRole('button', { name: 'Done' }).click();
    await row('Hosts', 'second').getByText('Online').waitFor();
    await row('Hosts', 'second').getByText('Default').waitFor();
    await takeScreenshots(page, 'hosts');
  });

  it('deletes the host only after showing what goes with it, and both rows leave', async () => {
    await createSandbox('away', 'second');
    await row('Sandboxes', 'away').getByRole('link', { name: 'second' }).waitFor();
    await takeScreenshots(page, 'sandboxes');
    await goTo('Hosts');
    const opener = page.getByRole('button', { name: 'Delete second' });
    const dialog = page.getByRole('dialog', { name: 'Delete second?' });
    const focused = (name: string) => page.locator(':focus').and(page.getByRole('button', { name })).waitFor();
    await opener.press('Enter');
    await focused('Cancel');
    await page.keyboard.press('Escape');
    await dialog.waitFor({ state: 'hidden' });
    await focused('Delete second');
    await opener.press('Enter');
    await dialog.getByRole('list', { name: 'Affected sandboxes' }).getByText('away').waitFor();
    const confirm = dialog.getByRole('button', { name: 'Delete host and sandboxes' });
    expect(await confirm.isDisabled()).toBe(true);
    await takeScreenshots(page, 'delete-host');
    await dialog.getByRole('checkbox').check();
    await confirm.click();
    await dialog.waitFor({ state: 'hidden' });
    await row('Hosts', 'second').waitFor({ state: 'detached' });
    await goTo('Sandboxes');
    await row('Sandboxes', 'away').waitFor({ state: 'detached' });
    await row('Sandboxes', 'home').waitFor();
  });

  it('did all of it in one load of the page, without an error', async () => {
    expect(await page.evaluate('window.sameLoad')).toBe(true);
    expect(tab.errors).toEqual([]);
  });

  it('is usable on a phone: signing in, lists and dialogs', async () => {
    await tab.context.close();
    tab = await openTab(browser, rookery.url, PHONE);
    page = tab.page;
    await page.goto('/sandboxes');
    await page.getByRole('heading', { name: 'Sign in to Rookery' }).waitFor();
    expect(await overflowsSideways(page)).toBe(false);
    await signIn(ADMIN_PASSWORD);
    // Back to where they wanted to go.
    await row('Sandboxes', 'home').getByText('Running').waitFor();
    expect(await overflowsSideways(page)).toBe(false);

    await page.getByRole('button', { name: 'New sandbox' }).click();
    const dialog = page.getByRole('dialog', { name: 'New sandbox' });
    await dialog.getByRole('button', { name: 'Create sandbox' }).click({ trial: true });
    expect(await overflowsSideways(page)).toBe(false);
    await dialog.getByRole('button', { name: 'Cancel' }).click();

    await page.getByRole('button', { name: 'Account and theme' }).click();
    await page.getByRole('link', { name: 'Admin section' }).click();
    await row('Platform hosts', local).getByText('Online').waitFor();
    expect(await overflowsSideways(page)).toBe(false);
    await page.getByRole('button', { name: `Delete ${local}` }).click();
    await page
      .getByRole('dialog', { name: `Delete ${local}?` })
      .getByText('home')
      .waitFor();
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();
    expect(tab.errors).toEqual([]);
  });

  it('destroys a sandbox from its list, and leaves nothing on the machine', async () => {
    await page.goto('/sandboxes');
    await page.getByRole('button', { name: 'Destroy home' }).click();
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /Destroy/ })
      .click();
    await row('Sandboxes', 'home').waitFor({ state: 'detached' });
    const fleet = new Fleet(await Api.signIn(rookery.url, ADMIN_EMAIL, ADMIN_PASSWORD));
    expect(await fleet.sandboxes()).toEqual([]);
    await browser.close();
    await rookery.stop();
    const { containers, mounts } = await story.leftovers();
    expect({ containers, mounts }).toEqual({ containers: NOTHING.containers, mounts: NOTHING.mounts });
  });
});
