export function choose(fanout: usize, count: i32, hash: u32): i32 {
  return 0;
}
