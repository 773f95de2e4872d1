/** One page of a list, newest first. */
export interface Page {
  readonly limit: number;
  /** Rows after this id in the list's order. */
  readonly after?: string | undefined;
  readonly before?: string | undefined;
  /** From the end of the list towards its beginning. */
  readonly inverted: boolean;
}

/** Rows of one page of a snapshot. */
const SNAPSHOT_PAGE = 1_000;

/** All rows of a list, page by page. */
export async function everyPage<Row extends { id: string }>(load: (page: Page) => Promise<Row[]>): Promise<Row[]> {
  const rows: Row[] = [];
  for (;;) {
    const page = await load({ limit: SNAPSHOT_PAGE, inverted: false, after: rows.at(-1)?.id });
    rows.push(...page);
    if (page.length < SNAPSHOT_PAGE) return rows;
  }
}

/** A pattern for `ilike` that finds a text anywhere: what people search for is text, not a pattern. */
export const containing = (text: string): string => `%${text.replace(/[\\%_]/g, '\\$&')}%`;
