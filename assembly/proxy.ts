export function reduce(
  worker: usize,
  device: u32,
  domain: u32,
  frame: usize,
  length: i32,
  reply: usize,
): i32 {
  return 0;
}
