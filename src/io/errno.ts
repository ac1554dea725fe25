/** Error numbers of Linux (the same on x86-64 and arm64), and errors made of them. */
import { getSystemErrorName } from 'node:util';
import { VtepError, type VtepErrorCode } from '../errors.ts';
import { syscalls } from './syscalls.ts';

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EAGAIN = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EBUSY = 16;
export const ENODEV = 19;
export const EINVAL = 22;
const EMFILE = 24;
export const ENOSYS = 38;
export const EMSGSIZE = 90;
export const EAFNOSUPPORT = 97;
export const EADDRINUSE = 98;
export const EADDRNOTAVAIL = 99;
export const ENETUNREACH = 101;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;
export const EHOSTUNREACH = 113;

/** "EADDRINUSE" */
export function errorName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `error ${errno}`;
  }
}

/** The error of the call that has just failed. `what` names the operation and its object. */
export function systemError(what: string, remedy = ''): VtepError {
  const errno = syscalls().errno();
  const code: VtepErrorCode =
    errno === EPERM || errno === EACCES ? 'PERMISSION' : errno === EADDRINUSE ? 'IN_USE' : 'SYSTEM';
  const hint = remedy || REMEDIES[errno] || '';
  return new VtepError(code, `${what}: ${errorName(errno)}${hint === '' ? '' : `: ${hint}`}`);
}

const REMEDIES: Record<number, string> = {
  [EPERM]: 'CAP_NET_ADMIN is needed: run as root, or in a user namespace (unshare -Urn)',
  [EACCES]: 'permission is missing: run as root, or in a user namespace (unshare -Urn)',
  [EMFILE]: 'too many open files: raise the limit (ulimit -n)',
};
