export function sent(device: u32, domain: u32, mac: usize): u32 {
  return 0;
}
export function seen(worker: usize, device: u32, id: u32): void {}
export function refused(device: u32, id: u32): boolean {
  return false;
}
