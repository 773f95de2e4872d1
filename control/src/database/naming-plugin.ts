import type { EntityMetadata, EntityProperty } from '@mikro-orm/core';
import type { SqlEntityManager } from '@mikro-orm/postgresql';
import { MikroKyselyPlugin } from '@mikro-orm/sql';
import type {
  KyselyPlugin,
  PluginTransformQueryArgs,
  PluginTransformResultArgs,
  QueryId,
  QueryResult,
  RootOperationNode,
  UnknownRow,
} from 'kysely';
import type { QUERY_OPTIONS } from './database.ts';

/** Where a column of a result goes, and what makes its value the property's; undefined where it is already. */
interface Column {
  readonly from: string;
  readonly to: string;
  readonly convert: ((value: unknown) => unknown) | undefined;
}

/** Parts of a query that hold values and no tables: not worth walking through, and long. */
const WITHOUT_TABLES = new Set(['ValueNode', 'PrimitiveValueListNode', 'ColumnNode', 'IdentifierNode', 'ValuesNode']);

/**
 * Names in queries are those of the entities and their properties: {@link MikroKyselyPlugin} with a result side of our own.
 *
 * The ORM's tries every name that a column might have on every row, some 150 for a table of ours, and leaves objects that
 * V8 keeps as dictionaries: reading a fleet took several times as long as asking for it. Here the columns of a result are
 * looked up once, and rows made from that list.
 */
export class NamingPlugin implements KyselyPlugin {
  readonly #em: SqlEntityManager;
  readonly #queries: MikroKyselyPlugin;
  readonly #entities = new WeakMap<QueryId, EntityMetadata[]>();

  constructor(em: SqlEntityManager, options: typeof QUERY_OPTIONS) {
    this.#em = em;
    this.#queries = new MikroKyselyPlugin(em, options);
  }

  transformQuery(args: PluginTransformQueryArgs): RootOperationNode {
    const names = new Set<string>();
    collectTables(args.node, names);
    const metadata = this.#em.getMetadata();
    const entities = [...names].flatMap((name) => {
      const found = metadata.find(name as never);
      return found ? [found] : [];
    });
    if (entities.length > 0) this.#entities.set(args.queryId, entities);
    return this.#queries.transformQuery(args);
  }

  async transformResult({ result, queryId }: PluginTransformResultArgs): Promise<QueryResult<UnknownRow>> {
    const entities = this.#entities.get(queryId);
    const [first] = result.rows;
    if (!entities || !first) return result;
    const columns = Object.keys(first).map((name) => this.#column(name, entities));
    return { ...result, rows: result.rows.map((row) => rename(row, columns)) };
  }

  #column(name: string, entities: readonly EntityMetadata[]): Column {
    for (const { props } of entities) {
      const property = props.find((prop) => prop.name === name || prop.fieldNames?.includes(name));
      if (property) return { from: name, to: property.name, convert: this.#converter(property) };
    }
    return { from: name, to: name, convert: undefined };
  }

  #converter(property: EntityProperty): Column['convert'] {
    const platform = this.#em.getPlatform();
    const { customType } = property;
    if (customType) return (value) => customType.convertToJSValue(value, platform);
    if (property.runtimeType === 'Date')
      return (value) => (value instanceof Date ? value : platform.parseDate(value as string));
    return undefined;
  }
}

function rename(row: UnknownRow, columns: readonly Column[]): UnknownRow {
  const renamed: UnknownRow = {};
  for (const { from, to, convert } of columns) {
    const value = row[from];
    renamed[to] = convert && value !== null && value !== undefined ? convert(value) : value;
  }
  return renamed;
}

/** The tables that a query names, in the order in which it does. */
function collectTables(node: unknown, names: Set<string>): void {
  if (Array.isArray(node)) {
    for (const item of node) collectTables(item, names);
    return;
  }
  if (typeof node !== 'object' || node === null) return;
  const { kind } = node as { kind?: string };
  if (kind !== undefined && WITHOUT_TABLES.has(kind)) return;
  if (kind === 'TableNode') {
    names.add((node as { table: { identifier: { name: string } } }).table.identifier.name);
    return;
  }
  for (const value of Object.values(node)) collectTables(value, names);
}
