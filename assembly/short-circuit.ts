export function rewrite(worker: usize, device: u32, domain: u32, frame: usize, length: i32): boolean {
  return false;
}
