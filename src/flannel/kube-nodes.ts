/**
 * The Node objects of a cluster, followed for ever: a list, then a watch from there on, with bookmarks. A watch that
 * ends goes on where it was; one that is told 410 Gone begins with a list again; an API server that is away is tried
 * again with growing waits. Nothing of the objects is kept here.
 */
import { Backoff, pause } from './backoff.ts';
import { asNode, type KubeNode } from './kube-annotations.ts';
import { ApiError, type KubeClient, statusError } from './kube-client.ts';
import { readLines, readList } from './kube-stream.ts';

export interface NodeListener {
  /** A list begins: what follows is all there is. A list that fails begins anew. */
  listing(): void;
  /** One of a list, or one that is new or has changed. */
  node(node: KubeNode): void;
  removed(name: string): void;
  /** The list is whole. */
  listed(): void;
  /** Everything that came together has been handed over. */
  settled(): void;
  /** The watch stands. */
  connected(): void;
  /** It doesn't; it is tried again. */
  lost(error: Error): void;
}

const NODES = '/api/v1/nodes';
/** Objects an answer may hold; servers that answer from memory pay no heed to it. */
const PAGE_NODES = 500;
/** The server ends a watch after this, at random up to twice as much, so that thousands don't return as one. */
const WATCH_SECONDS = 300;
/** A server that doesn't end it by then is taken for dead. */
const GRACE_SECONDS = 60;
const FIRST_WAIT_MS = 200;
const LAST_WAIT_MS = 30_000;
/** A watch that lived for this long is followed by another without a wait. */
const STEADY_MS = 5000;

export class KubeNodes {
  readonly #client: KubeClient;
  readonly #listener: NodeListener;
  readonly #backoff = new Backoff(FIRST_WAIT_MS, LAST_WAIT_MS);
  /** Everything up to here has been told. */
  #version = '';
  /** What a list asks for: "0" is whatever the server has in memory, "" what etcd has. */
  #from = '0';

  constructor(client: KubeClient, listener: NodeListener) {
    this.#client = client;
    this.#listener = listener;
  }

  /** Resolves when the signal is aborted. */
  async follow(signal: AbortSignal): Promise<void> {
    let isListed = false;
    while (!signal.aborted) {
      const began = Date.now();
      try {
        if (!isListed) await this.#list(signal);
        isListed = true;
        await this.#watch(signal);
      } catch (error) {
        if (signal.aborted) return;
        // Lines that can't be read may have been changes.
        const isGone = error instanceof ApiError && error.expired;
        if (isGone || error instanceof SyntaxError) {
          isListed = false;
          this.#from = '';
        }
        if (!isGone) this.#listener.lost(error as Error);
      }
      if (Date.now() - began >= STEADY_MS) this.#backoff.reset();
      else await pause(this.#backoff.next(), signal);
    }
  }

  async #list(signal: AbortSignal): Promise<void> {
    this.#listener.listing();
    let query = `?limit=${PAGE_NODES}${this.#from === '' ? '' : `&resourceVersion=${this.#from}`}`;
    let next: string | undefined;
    do {
      const answer = await this.#client.stream(NODES + query, signal);
      const list = (await readList(answer, (value) => {
        const node = asNode(value);
        if (node) this.#listener.node(node);
      })) as { metadata?: { resourceVersion?: string; continue?: string } };
      this.#version = list.metadata?.resourceVersion ?? '';
      next = list.metadata?.continue;
      query = `?limit=${PAGE_NODES}&continue=${encodeURIComponent(next ?? '')}`;
    } while (next);
    this.#listener.listed();
  }

  /** Returns when the server ends it. */
  async #watch(signal: AbortSignal): Promise<void> {
    const seconds = Math.round(WATCH_SECONDS * (1 + Math.random()));
    const query = `?watch=1&allowWatchBookmarks=true&timeoutSeconds=${seconds}&resourceVersion=${this.#version}`;
    const answer = await this.#client.watch(NODES + query, signal);
    this.#listener.connected();
    const overdue = setTimeout(
      () => answer.destroy(new Error('the watch outlived its time')),
      (seconds + GRACE_SECONDS) * 1000,
    );
    try {
      for await (const events of readLines(answer)) {
        for (const event of events) this.#hear(event as { type?: string; object?: unknown });
        this.#listener.settled();
      }
    } finally {
      clearTimeout(overdue);
      this.#listener.settled();
    }
  }

  #hear({ type, object }: { type?: string; object?: unknown }): void {
    if (type === 'ERROR') {
      const status = (object ?? {}) as { code?: number; reason?: unknown; message?: unknown };
      throw statusError(`watch of ${NODES}`, status.code ?? 500, status);
    }
    const { metadata } = (object ?? {}) as { metadata?: { resourceVersion?: string } };
    const node = asNode(object);
    if (type === 'DELETED' && node) this.#listener.removed(node.metadata.name);
    else if ((type === 'ADDED' || type === 'MODIFIED') && node) this.#listener.node(node);
    // A bookmark brings nothing but this.
    if (metadata?.resourceVersion) this.#version = metadata.resourceVersion;
  }
}
