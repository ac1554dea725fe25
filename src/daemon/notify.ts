/**
 * What a service manager is told (sd_notify(3)): that the service is ready, what it does, that it stops; and, where it
 * asked for that, that it lives. The last is said only while the event loop turns and every thread that carries
 * frames does: a manager that hears nothing starts the service anew.
 */
import { UnixDatagramSender } from '../io/unix-datagram.ts';
import type { Daemon, Logger } from './daemon.ts';

/** Between two looks at what a flannel node does. */
const LOOK_MS = 1000;

export interface Notifier {
  /** Once: the service does its work from now on. */
  ready(status: string): void;
  /** One line that `systemctl status` shows. The same again is not sent again. */
  status(text: string): void;
  stopping(): void;
  /**
   * From now on the manager hears that we live, at half its interval, as long as `alive` says so in time.
   * Nothing, where no watchdog was asked for.
   */
  watch(alive: (milliseconds: number) => Promise<boolean>): void;
  close(): void;
}

const SILENT: Notifier = { ready() {}, status() {}, stopping() {}, watch() {}, close() {} };

/**
 * By NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Without the first, or where it can't be used, nothing is told to
 * anybody.
 */
export function openNotifier(env: Readonly<Record<string, string | undefined>>, logger: Logger): Notifier {
  const { NOTIFY_SOCKET: address = '', WATCHDOG_USEC: usec = '', WATCHDOG_PID: pid = '' } = env;
  if (address === '') return SILENT;
  try {
    const forUs = pid === '' || pid === `${process.pid}`;
    const interval = forUs && /^\d+$/.test(usec) ? Number(usec) / 1000 : 0;
    return new SystemdNotifier(new UnixDatagramSender(address), interval, logger);
  } catch (error) {
    logger('warn', `NOTIFY_SOCKET: ${(error as Error).message}: the service manager is told nothing`);
    return SILENT;
  }
}

class SystemdNotifier implements Notifier {
  readonly #sender: UnixDatagramSender;
  /** Milliseconds within which the manager wants to hear of us; 0 = it doesn't. */
  readonly #interval: number;
  readonly #logger: Logger;
  #timer: NodeJS.Timeout | undefined;
  #status = '';
  #healthy = true;

  constructor(sender: UnixDatagramSender, interval: number, logger: Logger) {
    this.#sender = sender;
    this.#interval = interval;
    this.#logger = logger;
  }

  ready(status: string): void {
    this.#status = oneLine(status);
    this.#sender.send(`READY=1\nSTATUS=${this.#status}\nMAINPID=${process.pid}`);
  }

  status(text: string): void {
    const status = oneLine(text);
    if (status === this.#status) return;
    // What could not be sent is sent with the next.
    if (this.#sender.send(`STATUS=${status}`)) this.#status = status;
  }

  stopping(): void {
    this.#sender.send('STOPPING=1');
  }

  watch(alive: (milliseconds: number) => Promise<boolean>): void {
    if (this.#interval === 0 || this.#timer !== undefined) return;
    const period = this.#interval / 2;
    const beat = async () => {
      // Half of a period for the answer, so that one is over before the next begins.
      const lives = await alive(period / 2).catch(() => false);
      if (this.#timer === undefined) return;
      if (lives) this.#sender.send('WATCHDOG=1');
      else if (this.#healthy) this.#logger('error', 'watchdog: a thread that carries frames does not answer');
      this.#healthy = lives;
    };
    this.#timer = setInterval(beat, period);
    this.#timer.unref();
    void beat();
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#sender.close();
  }
}

const oneLine = (text: string) => text.replace(/\s*\n\s*/g, ' ');

/**
 * Tells of a daemon until it stops: that it is ready, which a flannel node is when pods can be made, what it does, and
 * that it lives. The returned function ends that.
 */
export function notifyOf(notifier: Notifier, daemon: Daemon, word: string): () => void {
  notifier.watch((milliseconds) => daemon.vtep.responds(milliseconds));
  const { flannel } = daemon;
  if (flannel === undefined) {
    notifier.ready(word);
    return () => {};
  }
  let isReady = false;
  const look = () => {
    const { serving, text } = flannel.summary();
    if (serving && !isReady) {
      isReady = true;
      notifier.ready(text);
    } else {
      notifier.status(text);
    }
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  timer.unref();
  return () => clearInterval(timer);
}
