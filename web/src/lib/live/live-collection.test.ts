import { describe, expect, it, vi } from 'vitest';
import { LiveCollection, type LiveEvent, type LiveEventKind } from './live-collection.ts';

interface Thing {
  id: string;
  revision: number;
  createdAt: string;
  name: string;
}

function newThing(overrides: Partial<Thing> & { id: string }): Thing {
  return { revision: 1, createdAt: '2026-01-01T00:00:00.000Z', name: overrides.id, ...overrides };
}

let position = 0;
function event(kind: LiveEventKind, node: Thing | null, id = node?.id ?? null): LiveEvent<Thing> {
  return { kind, cursor: `c${++position}`, id, node };
}

function loaded(...nodes: Thing[]): LiveCollection<Thing> {
  const collection = new LiveCollection<Thing>(() => 42);
  collection.load(nodes, 'c0');
  return collection;
}

const ids = (collection: LiveCollection<Thing>) => collection.items.map((item) => item.id);

describe('a live collection', () => {
  it('is unknown, not empty, before its first snapshot', () => {
    const collection = new LiveCollection<Thing>();
    expect(collection.loaded).toBe(false);
    expect(collection.cursor).toBeNull();
  });

  it('lists the newest first and breaks ties by id', () => {
    const collection = loaded(
      newThing({ id: 'b' }),
      newThing({ id: 'new', createdAt: '2026-01-02T00:00:00.000Z' }),
      newThing({ id: 'a' }),
    );
    expect(ids(collection)).toEqual(['new', 'a', 'b']);
  });

  it('follows creations, changes and deletions, and remembers where it is', () => {
    const collection = loaded(newThing({ id: 'a' }));
    collection.apply(event('CREATED', newThing({ id: 'b' })));
    collection.apply(event('UPDATED', newThing({ id: 'a', revision: 2, name: 'renamed' })));
    const last = event('DELETED', null, 'b');
    collection.apply(last);
    expect(ids(collection)).toEqual(['a']);
    expect(collection.get('a')?.name).toBe('renamed');
    expect(collection.cursor).toBe(last.cursor);
    expect(collection.lastEventAt).toBe(42);
  });

  it('ignores an older or equal revision', () => {
    const collection = loaded(newThing({ id: 'a', revision: 5, name: 'current' }));
    collection.apply(event('UPDATED', newThing({ id: 'a', revision: 4, name: 'older' })));
    collection.apply(event('UPDATED', newThing({ id: 'a', revision: 5, name: 'twice' })));
    expect(collection.get('a')?.name).toBe('current');
  });

  it('does not resurrect what was deleted', () => {
    const collection = loaded(newThing({ id: 'a' }));
    collection.apply(event('DELETED', null, 'a'));
    collection.apply(event('UPDATED', newThing({ id: 'a', revision: 9 })));
    collection.refresh([newThing({ id: 'a', revision: 9 })]);
    expect(ids(collection)).toEqual([]);
    expect(collection.wasDeleted('a')).toBe(true);
  });

  it('remembers a deletion that comes before the creation', () => {
    const collection = loaded();
    collection.apply(event('DELETED', null, 'a'));
    collection.apply(event('CREATED', newThing({ id: 'a' })));
    expect(ids(collection)).toEqual([]);
  });

  it('drops what a snapshot does not contain, and only when it is complete', () => {
    const collection = loaded(newThing({ id: 'a' }), newThing({ id: 'b' }));
    collection.apply(event('RESET', null));
    collection.apply(event('SNAPSHOT', newThing({ id: 'b' })));
    collection.apply(event('SNAPSHOT', newThing({ id: 'c' })));
    expect(ids(collection)).toEqual(['a', 'b', 'c']);
    collection.apply(event('SNAPSHOT_COMPLETE', null));
    expect(ids(collection)).toEqual(['b', 'c']);
  });

  it('believes a snapshot over what it knew', () => {
    const collection = loaded(newThing({ id: 'a', revision: 7 }), newThing({ id: 'b' }));
    collection.apply(event('DELETED', null, 'b'));
    collection.apply(event('RESET', null));
    collection.apply(event('SNAPSHOT', newThing({ id: 'a', revision: 3, name: 'restored' })));
    collection.apply(event('SNAPSHOT', newThing({ id: 'b' })));
    collection.apply(event('SNAPSHOT_COMPLETE', null));
    expect(ids(collection)).toEqual(['a', 'b']);
    expect(collection.get('a')?.name).toBe('restored');
  });

  it('keeps what was created, and drops what was deleted, in the middle of a snapshot', () => {
    const collection = loaded(newThing({ id: 'a' }));
    collection.apply(event('RESET', null));
    collection.apply(event('SNAPSHOT', newThing({ id: 'a' })));
    collection.apply(event('CREATED', newThing({ id: 'b' })));
    collection.apply(event('DELETED', null, 'a'));
    collection.apply(event('SNAPSHOT_COMPLETE', null));
    expect(ids(collection)).toEqual(['b']);
  });

  it('resumes from before a snapshot that was cut off', () => {
    const collection = loaded(newThing({ id: 'a' }), newThing({ id: 'b' }));
    collection.apply(event('RESET', null));
    collection.apply(event('SNAPSHOT', newThing({ id: 'a' })));
    expect(collection.cursor).toBe('c0');
    collection.resumed();
    const next = event('UPDATED', newThing({ id: 'b', revision: 2 }));
    collection.apply(next);
    collection.apply(event('SNAPSHOT_COMPLETE', null));
    expect(ids(collection)).toEqual(['a', 'b']);
  });

  it('takes fresher readings at the same revision but never an older one', () => {
    const collection = loaded(newThing({ id: 'a', revision: 3 }));
    collection.refresh([newThing({ id: 'a', revision: 3, name: 'fresh' }), newThing({ id: 'unknown' })]);
    collection.refresh([newThing({ id: 'a', revision: 2, name: 'stale' })]);
    expect(collection.items).toEqual([newThing({ id: 'a', revision: 3, name: 'fresh' })]);
  });

  it('tells its listeners until they leave, and keeps one array between changes', () => {
    const collection = loaded(newThing({ id: 'a' }));
    const listener = vi.fn();
    const leave = collection.subscribe(listener);
    collection.apply(event('CREATED', newThing({ id: 'b' })));
    expect(collection.items).toBe(collection.items);
    leave();
    collection.apply(event('CREATED', newThing({ id: 'c' })));
    expect(listener).toHaveBeenCalledTimes(1);
  });

  it('takes further pages without going back on what events have said meanwhile', () => {
    const collection = loaded(newThing({ id: 'b' }));
    collection.apply(event('DELETED', null, 'gone'));
    collection.apply(event('UPDATED', newThing({ id: 'b', revision: 3 })));
    const cursor = collection.cursor;
    collection.extend([newThing({ id: 'a' }), newThing({ id: 'b', revision: 2 }), newThing({ id: 'gone' })]);
    expect(ids(collection)).toEqual(['a', 'b']);
    expect(collection.get('b')?.revision).toBe(3);
    expect(collection.cursor).toBe(cursor);
  });
});
