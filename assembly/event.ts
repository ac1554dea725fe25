export function learned(worker: usize, domain: u32, mac: usize, sender: usize, ifindex: u32): void {}
export function moved(worker: usize, domain: u32, mac: usize, sender: usize, ifindex: u32): void {}
export function l2Miss(worker: usize, domain: u32, mac: usize): void {}
