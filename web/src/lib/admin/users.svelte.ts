import { query } from '#lib/gql/client.ts';
import type { UsersQuery as UsersData } from '#lib/gql/generated/graphql.ts';
import { UsersQuery } from './admin.operations.ts';

export type AdminUser = UsersData['users']['edges'][number]['node'];

const PAGE = 50;

/** A searched list of everyone, read page by page: there may be many, and no event tells of them. */
export class Users {
  items = $state.raw<readonly AdminUser[] | null>(null);
  /** Of those that match; null while it is not known. */
  total = $state.raw<number | null>(null);
  hasMore = $state(false);
  busy = $state(false);
  problem = $state.raw<Error | null>(null);
  #search = '';
  #end: string | null = null;
  #reading = 0;

  /** Reads the first page of a search, or as much as is shown of the same one. */
  async read(search: string): Promise<void> {
    const first = search === this.#search ? Math.min(500, Math.max(PAGE, this.items?.length ?? 0)) : PAGE;
    this.#search = search;
    await this.#page(first, null);
  }

  async more(): Promise<void> {
    if (this.hasMore && !this.busy) await this.#page(PAGE, this.#end);
  }

  async #page(first: number, after: string | null): Promise<void> {
    const reading = ++this.#reading;
    this.busy = true;
    try {
      const { users } = await query(UsersQuery, { first, after, search: this.#search.trim() || null });
      // Typed on meanwhile.
      if (reading !== this.#reading) return;
      const nodes = users.edges.map(({ node }) => node);
      this.items = after === null ? nodes : [...(this.items ?? []), ...nodes];
      this.total = users.totalCount;
      this.hasMore = users.pageInfo.hasNextPage;
      this.#end = users.pageInfo.endCursor ?? null;
      this.problem = null;
    } catch (error) {
      if (reading === this.#reading) this.problem = error instanceof Error ? error : new Error(String(error));
    } finally {
      if (reading === this.#reading) this.busy = false;
    }
  }
}
