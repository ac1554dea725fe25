/** Members of a network of any size up to 131,000: subnets in 100.64.0.0/10 or 10.0.0.0/8, one address and MAC each. */

/** Ours. */
export const ADDRESS = '192.0.2.1';

const octets = (number: number) => [number >>> 24, (number >>> 16) & 255, (number >>> 8) & 255, number & 255];

/** "100.64.1.0/24": at most 16,000. */
export const subnetOf = (index: number) => `${octets(0x64400000 + (index + 1) * 256).join('.')}/24`;
/** "10.0.0.128/25": at most 131,000. */
export const smallSubnetOf = (index: number) => `${octets(0x0a000000 + (index + 1) * 128).join('.')}/25`;
/** In 198.18.0.0/15. */
export const publicIpOf = (index: number) => octets(0xc6120000 + index + 1).join('.');
export const macOf = (index: number, generation = 0) =>
  [0x02, generation & 255, ...octets(index + 1)]
    .map((octet) => octet.toString(16).padStart(2, '0'))
    .join(':');
