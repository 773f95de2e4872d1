import type { Browser, Locator, Page } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CLIENT_ID, CLIENT_SECRET, newPerson, TestOidcProvider } from '../../control/test/oidc-provider.ts';
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
import { ADMIN_EMAIL, newPlace, startRookery, type Rookery } from '../support/rookery.ts';
import { Story } from '../support/story.ts';

const PASSWORD = 'correct horse battery';
const OWNER = { email: 'grace@example.test', name: 'Grace Hopper' };
const GUEST = { email: 'edsger@example.test', name: 'Edsger Dijkstra' };

/** Invites an address into the first team, as any program would. */
async function invite(url: string, email: string): Promise<{ teamId: string; token: string }> {
  const admin = await Api.signIn(url, ADMIN_EMAIL, PASSWORD);
  const { viewer } = await admin.request<{ viewer: { memberships: { team: { id: string } }[] } }>(
    '{ viewer { memberships { team { id } } } }',
  );
  const teamId = viewer.memberships[0]!.team.id;
  const { addTeamMember } = await admin.request<{ addTeamMember: { token: string } }>(
    `mutation ($input: AddTeamMemberInput!) { addTeamMember(input: $input) { ... on TeamMemberInvited { token } } }`,
    { input: { teamId, email, role: 'MEMBER' } },
  );
  return { teamId, token: addTeamMember.token };
}

/** An account without a team: invited, accepted, left again. */
async function newAccount(url: string, { email, name }: { email: string; name: string }): Promise<void> {
  const { teamId, token } = await invite(url, email);
  await new Api(url).request(
    `mutation ($input: AcceptInvitationInput!) { acceptInvitation(input: $input) { __typename } }`,
    { input: { token, name, password: PASSWORD } },
  );
  const account = await Api.signIn(url, email, PASSWORD);
  await account.request(`mutation ($input: LeaveTeamInput!) { leaveTeam(input: $input) { __typename } }`, {
    input: { teamId },
  });
}

describe('the journey in the browser: a team, its people, its keys and its trail', () => {
  const story = new Story();
  let rookery: Rookery;
  let browser: Browser;
  let provider: TestOidcProvider;
  /** Each in a browser of their own. */
  let admin: Tab;
  let owner: Tab;
  let guest: Tab;
  let secret: string;

  beforeAll(async () => {
    const place = await newPlace(story);
    provider = story.use(
      await TestOidcProvider.start([`http://127.0.0.1:${place.port}/session/oidc/callback`], {
        conformIdTokenClaims: true,
      }),
    );
    [rookery, browser] = await Promise.all([
      startRookery(story, place, {
        ROOKERY_ADMIN_PASSWORD: PASSWORD,
        ROOKERY_OIDC_ISSUER: provider.issuer,
        ROOKERY_OIDC_CLIENT_ID: CLIENT_ID,
        ROOKERY_OIDC_CLIENT_SECRET: CLIENT_SECRET,
        ROOKERY_OIDC_NAME: 'Example Inc.',
      }),
      startBrowser(),
    ]);
    await newAccount(rookery.url, OWNER);
    [admin, owner, guest] = (await Promise.all([0, 1, 2].map(() => openTab(browser, rookery.url)))) as [Tab, Tab, Tab];
  });

  afterAll(() => browser?.close());

  const nav = (page: Page, item: string): Locator =>
    page
      .getByRole('navigation', { name: 'Main' })
      .getByRole('link', { name: item, exact: true })
      .filter({ visible: true });
  const list = (page: Page, name: string, item: string): Locator =>
    page.getByRole('list', { name }).getByRole('listitem', { name: item });
  const event = (page: Page, action: string): Locator => page.locator(`[data-action="${action}"]`).first();
  const marked = (page: Page) => page.evaluate('window.sameLoad = true');
  const isSameLoad = (page: Page) => page.evaluate('window.sameLoad');

  it('offers someone without a team to create one, and makes it theirs', async () => {
    const { page } = owner;
    await page.goto('/');
    await signInAs(page, OWNER.email, PASSWORD);
    await page.getByRole('heading', { name: 'You are in no team yet' }).waitFor();
    await takeScreenshots(page, 'no-team');
    await page.getByRole('button', { name: 'Create team' }).click();
    await page.getByRole('dialog').getByLabel('Name').fill('Compilers');
    await page.getByRole('dialog').getByRole('button', { name: 'Create team' }).click();
    await nav(page, 'Sandboxes').waitFor();
    await page.getByRole('button', { name: 'Team: Compilers' }).waitFor();
    expect(await nav(page, 'Hosts').count()).toBe(0);
    await marked(page);
  });

  it('shows the BYOC item to the owner the moment a platform admin allows it, and takes it away again', async () => {
    const { page } = admin;
    await page.goto('/');
    await signInAs(page, ADMIN_EMAIL, PASSWORD);
    await page.getByRole('link', { name: 'Admin section' }).click();
    await page.getByTestId('admin-bar').waitFor();
    await page.getByRole('table', { name: 'Platform hosts' }).getByText('Online').waitFor();
    await goToSection(page, 'Teams', 'Admin');
    const byoc = page.getByRole('switch', { name: 'BYOC of Compilers' });
    await byoc.click();
    await nav(owner.page, 'Hosts').waitFor();
    await byoc.and(page.locator('[aria-checked="true"]')).waitFor();
    await takeScreenshots(page, 'admin-teams');
    await byoc.click();
    await nav(owner.page, 'Hosts').waitFor({ state: 'detached' });
    await byoc.click();
    await nav(owner.page, 'Hosts').waitFor();
    await goToSection(owner.page, 'Hosts');
    await owner.page.getByRole('button', { name: 'Register host' }).waitFor();
    expect(await isSameLoad(owner.page)).toBe(true);
  });

  it('refuses to leave the platform without an admin, says why and puts the switch back', async () => {
    const { page } = admin;
    await goToSection(page, 'Users', 'Admin');
    const isAdmin = page.getByRole('switch', { name: `Platform admin: ${ADMIN_EMAIL}` });
    await isAdmin.click();
    await page
      .getByRole('region', { name: 'Notifications' })
      .getByText(/only|last/i)
      .waitFor();
    await isAdmin.and(page.locator('[aria-checked="true"]')).waitFor();
  });

  it('invites someone, who makes an account by the link and is in the team at once', async () => {
    await goToSection(owner.page, 'Team');
    await owner.page.getByRole('button', { name: 'Invite' }).click();
    const dialog = owner.page.getByRole('dialog');
    await dialog.getByLabel('Email').fill(GUEST.email);
    await dialog.getByRole('button', { name: 'Create invitation' }).click();
    const link = await dialog.getByTestId('invitation-link').innerText();
    expect(link).toContain(`${rookery.url}/invitations/rki_`);
    await takeScreenshots(owner.page, 'invitation-link');
    await dialog.getByRole('button', { name: 'Done' }).click();
    await list(owner.page, 'Open invitations', GUEST.email).waitFor();

    const { page } = guest;
    await page.goto(new URL(link).pathname);
    await page.getByRole('heading', { name: 'Join Compilers' }).waitFor();
    await page.getByText(`${OWNER.name} invites you into this team, as member.`).waitFor();
    await takeScreenshots(page, 'invitation');
    await page.getByLabel('Your name').fill(GUEST.name);
    await page.getByLabel('Password').fill(PASSWORD);
    await page.getByRole('button', { name: 'Create account and join' }).click();
    await page.getByRole('button', { name: 'Team: Compilers' }).waitFor();
    await marked(page);

    await list(owner.page, 'Members', GUEST.email).waitFor();
    await list(owner.page, 'Open invitations', GUEST.email).waitFor({ state: 'detached' });
  });

  it('says of a link that was used that it cannot be used', async () => {
    const { page } = admin;
    await page.goto('/invitations/rki_used');
    await page.getByRole('heading', { name: 'This invitation cannot be used' }).waitFor();
    await page.goto('/admin/hosts');
  });

  it('shows hosts to a plain member as somebody else’s business, with the reason', async () => {
    const { page } = guest;
    await page
      .getByRole('navigation', { name: 'Main' })
      .getByRole('button', { name: /^Hosts:/ })
      .filter({ visible: true })
      .click();
    await page.getByText('owners and admins manage its hosts').waitFor();
    await page.getByRole('link', { name: 'Look at the hosts' }).click();
    await page.getByRole('heading', { name: 'Hosts', level: 1 }).waitFor();
    expect(await page.getByRole('button', { name: 'Register host' }).count()).toBe(0);
  });

  it('gives a role, which shows on the other’s screen at once, and takes it back without an error there', async () => {
    expect(await nav(guest.page, 'API keys').count()).toBe(0);
    const role = owner.page.getByRole('combobox', { name: `Role of ${GUEST.name}` });
    await role.selectOption('ADMIN');
    await goToSection(guest.page, 'API keys');
    await guest.page.getByRole('heading', { name: 'No API keys yet' }).waitFor();
    await guest.page.getByRole('button', { name: 'Create key' }).waitFor();

    await role.selectOption('MEMBER');
    await guest.page.getByRole('heading', { name: 'API keys are for owners and admins' }).waitFor();
    await guest.page.getByText('Your role in Compilers is member now.').waitFor();
    await nav(guest.page, 'API keys').waitFor({ state: 'detached' });
    expect(await isSameLoad(guest.page)).toBe(true);
  });

  it('explains that the only owner stays', async () => {
    await owner.page.getByRole('button', { name: /Owner: You are the only owner/ }).waitFor();
    expect(await owner.page.getByRole('combobox', { name: `Role of ${OWNER.name}` }).count()).toBe(0);
  });

  it('makes a key that is shown once and works', async () => {
    const { page } = owner;
    await goToSection(page, 'API keys');
    await page.getByRole('button', { name: 'Create key' }).click();
    const dialog = page.getByRole('dialog');
    await dialog.getByLabel('Name').fill('ci-runner');
    await takeScreenshots(page, 'create-api-key');
    await dialog.getByRole('button', { name: 'Create key' }).click();
    const shown = dialog.getByTestId('api-key-secret');
    expect(await shown.innerText()).toContain('•');
    await dialog.getByRole('button', { name: 'Reveal' }).click();
    secret = await shown.innerText();
    await takeScreenshots(page, 'api-key');
    await dialog.getByRole('button', { name: 'Done' }).click();
    await list(page, 'API keys', 'ci-runner').getByText('sandboxes:write').waitFor();
    const { data, errors } = await new Api(rookery.url, secret).ask<{ sandboxes: { totalCount: number } }>(
      '{ sandboxes(first: 1) { totalCount } }',
    );
    expect({ data, errors }).toEqual({ data: { sandboxes: { totalCount: 0 } }, errors: undefined });
  });

  it('shows on the audit page, live, that the key is revoked; the key is refused from then on', async () => {
    const trail = await owner.context.newPage();
    await trail.goto('/audit');
    await event(trail, 'createApiKey').waitFor();
    await event(trail, 'acceptInvitation').waitFor();
    expect(await event(trail, 'revokeApiKey').count()).toBe(0);

    const { page } = owner;
    await page.getByRole('button', { name: 'Revoke ci-runner' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Revoke key' }).click();
    await page.getByRole('heading', { name: 'No API keys yet' }).waitFor();
    await event(trail, 'revokeApiKey').getByText('Succeeded').waitFor();
    await event(trail, 'revokeApiKey').getByRole('button').click();
    await event(trail, 'revokeApiKey').getByText('api-key', { exact: true }).waitFor();
    await takeScreenshots(trail, 'audit');

    await trail.getByRole('combobox', { name: 'Action' }).selectOption('addTeamMember');
    await event(trail, 'revokeApiKey').waitFor({ state: 'detached' });
    await event(trail, 'addTeamMember').getByText(GUEST.email).waitFor();
    await trail.close();

    const { errors } = await new Api(rookery.url, secret).ask('{ sandboxes(first: 1) { totalCount } }');
    expect(errors?.[0]?.extensions?.['code']).toBe('UNAUTHENTICATED');
  });

  it('lists where someone is signed in, and signs another browser out', async () => {
    const other = await openTab(browser, rookery.url);
    await other.page.goto('/account');
    await signInAs(other.page, GUEST.email, PASSWORD);
    await other.page.getByRole('list', { name: 'Sessions' }).getByText('This one').waitFor();

    const { page } = guest;
    await page.goto('/account');
    const sessions = page.getByRole('list', { name: 'Sessions' });
    await takeScreenshots(page, 'account');
    await sessions.getByRole('button', { name: /^Sign out/ }).click();
    await sessions.getByRole('button', { name: /^Sign out/ }).waitFor({ state: 'detached' });
    await other.page.getByRole('heading', { name: 'Sign in to Rookery' }).waitFor();
    await other.context.close();
  });

  it('takes a removed member out of the team’s pages at once', async () => {
    await guest.page.goto('/team');
    await guest.page.getByRole('list', { name: 'Members' }).waitFor();
    await goToSection(owner.page, 'Team');
    await owner.page.getByRole('button', { name: `More for ${GUEST.name}` }).click();
    await owner.page.getByRole('menuitem', { name: 'Remove from team' }).click();
    await owner.page.getByRole('dialog').getByRole('button', { name: 'Remove from team' }).click();
    await list(owner.page, 'Members', GUEST.email).waitFor({ state: 'detached' });
    await guest.page.getByRole('heading', { name: 'You are in no team yet' }).waitFor();
  });

  it('signs out everywhere', async () => {
    const { page } = owner;
    await page.goto('/account');
    await page.getByRole('button', { name: 'Sign out everywhere' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Sign out everywhere' }).click();
    await page.getByRole('heading', { name: 'Sign in to Rookery' }).waitFor();
    await page.goto('/team');
    await page.getByRole('heading', { name: 'Sign in to Rookery' }).waitFor();
  });

  it('lets someone in through an identity provider, to the invitation that waits for their address', async () => {
    const ada = newPerson({ email: 'ada@example.test', name: 'Ada Lovelace' });
    await invite(rookery.url, 'ada@example.test');
    const { page } = owner;
    await page.goto('/sign-in?to=/team');
    const link = page.getByRole('link', { name: 'Sign in with Example Inc.' });
    await link.waitFor();
    await takeScreenshots(page, 'sign-in');
    provider.person = null;
    await link.click();
    await page.getByRole('alert').getByText('The identity provider did not let you in').waitFor();
    provider.person = ada;
    await link.click();
    await page.getByRole('heading', { name: 'You are invited' }).waitFor();
    await takeScreenshots(page, 'invited');
    await page.getByRole('list', { name: 'Invitations for you' }).getByRole('button', { name: 'Join' }).click();
    await page.getByRole('button', { name: 'Team: Default' }).waitFor();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await page.getByRole('heading', { name: 'Sign in to Rookery' }).waitFor();
  });

  it('says after too many wrong passwords how long to wait, and waits', async () => {
    const { page } = owner;
    await page.goto('/sign-in');
    const button = page.getByRole('button', { name: 'Sign in', exact: true });
    const refusal = page.getByRole('alert');
    for (let attempt = 0; attempt < 15 && !(await button.isDisabled()); attempt++) {
      const answered = page.waitForResponse((response) => new URL(response.url()).pathname === '/session');
      await signInAs(page, 'nobody@example.test', `guess ${attempt}`);
      await answered;
      await refusal.waitFor();
    }
    await refusal.getByText(/Too many attempts.*You can try again in 1\d:\d\d/s).waitFor();
    expect(await button.isDisabled()).toBe(true);
  });

  it('did all of it without an error in any browser', () => {
    // A browser itself notes refusals: of a session that was ended, and of the guesses above.
    const unexpected = (tab: Tab) => tab.errors.filter((error) => !/\b(401|429)\b/.test(error));
    expect([admin, owner, guest].flatMap(unexpected)).toEqual([]);
  });

  it('fits on a phone', async () => {
    await admin.context.close();
    admin = await openTab(browser, rookery.url, PHONE);
    const { page } = admin;
    await page.goto('/team');
    await signInAs(page, ADMIN_EMAIL, PASSWORD);
    await page.getByRole('list', { name: 'Members' }).waitFor();
    for (const path of ['/team', '/api-keys', '/audit', '/account', '/admin/hosts', '/admin/teams', '/admin/users']) {
      await page.goto(path);
      await page.locator('#content h1').waitFor();
      await page.getByRole('status', { name: 'Loading' }).first().waitFor({ state: 'detached' });
      expect({ path, overflows: await overflowsSideways(page) }).toEqual({ path, overflows: false });
      await takeScreenshots(page, path.slice(1).replaceAll('/', '-'));
    }
  });
});
