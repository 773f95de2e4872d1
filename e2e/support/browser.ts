import chromium from '@sparticuz/chromium';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { chromium as playwright, type Browser, type BrowserContext, type Page } from 'playwright-core';

/** How long a page may take to show what it should, in ms. */
const PAGE_DEADLINE_MS = 15_000;

export const DESKTOP = { width: 1440, height: 900 };
export const PHONE = { width: 390, height: 844 };

/**
 * Starts the Chromium that comes with an npm package.
 *
 * @throws when it cannot start, saying what is missing.
 */
export async function startBrowser(): Promise<Browser> {
  try {
    return await playwright.launch({
      executablePath: await chromium.executablePath(),
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-background-networking'],
    });
  } catch (cause) {
    throw new Error(
      'Chromium does not start; its libraries may be missing: apt-get install -y libnss3 libgbm1 fonts-liberation',
      { cause },
    );
  }
}

/** A tab of a person of their own, and everything in it that went wrong. */
export interface Tab {
  readonly page: Page;
  readonly context: BrowserContext;
  /** Errors of the console and of scripts. */
  readonly errors: string[];
}

export async function openTab(browser: Browser, url: string, viewport = DESKTOP): Promise<Tab> {
  const context = await browser.newContext({ viewport, baseURL: url, reducedMotion: 'reduce' });
  context.setDefaultTimeout(PAGE_DEADLINE_MS);
  const page = await context.newPage();
  const errors: string[] = [];
  page.on(
    'console',
    (message) => message.type() === 'error' && errors.push(`${message.text()} (${message.location().url})`),
  );
  page.on('pageerror', (error) => errors.push(error.stack ?? error.message));
  return { page, context, errors };
}

/** Fills in the sign-in page. */
export async function signInAs(page: Page, email: string, password: string): Promise<void> {
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
}

/** Goes to a section of the sidebar, or of the bar that a phone has for it. */
export async function goToSection(page: Page, section: string, navigation = 'Main'): Promise<void> {
  await page
    .getByRole('navigation', { name: navigation })
    .getByRole('link', { name: section })
    .filter({ visible: true })
    .click();
  await page
    .locator(`main h1`)
    .getByText(section === 'Team' ? /./ : section)
    .waitFor();
}

/** Pictures for people, taken only where ROOKERY_SCREENSHOTS says: light and dark, wide and narrow. */
export async function takeScreenshots(page: Page, name: string): Promise<void> {
  const directory = process.env['ROOKERY_SCREENSHOTS'];
  if (!directory) return;
  await mkdir(directory, { recursive: true });
  // What was said earlier would hide what the picture is of.
  await page.evaluate(`document.querySelectorAll('[aria-label="Dismiss"]').forEach((button) => button.click())`);
  await page.getByRole('button', { name: 'Dismiss', exact: true }).first().waitFor({ state: 'detached' });
  const before = page.viewportSize() ?? DESKTOP;
  for (const viewport of [DESKTOP, PHONE]) {
    await page.setViewportSize(viewport);
    for (const colorScheme of ['light', 'dark'] as const) {
      await page.emulateMedia({ colorScheme });
      await page.locator(`html[data-theme="${colorScheme}"]`).waitFor();
      await page.screenshot({
        path: join(directory, `${name}-${viewport.width}-${colorScheme}.png`),
        animations: 'disabled',
      });
    }
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(before);
}

/** Whether a page is wider than its window, which on a phone means scrolling sideways. */
export async function overflowsSideways(page: Page): Promise<boolean> {
  return page.evaluate('document.documentElement.scrollWidth > window.innerWidth');
}
