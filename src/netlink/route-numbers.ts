/** Numbers of the messages about routes (linux/rtnetlink.h). */
export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

/** struct rtmsg */
export const RTMSG_BYTES = 12;
export const RTMSG_TABLE_OFFSET = 4;
export const RTMSG_TYPE_OFFSET = 7;
export const RTMSG_FLAGS_OFFSET = 8;

/** The route is a copy that the kernel made for itself. */
export const RTM_F_CLONED = 0x200;
export const RTM_F_FIB_MATCH = 0x2000;
export const RT_TABLE_MAIN = 254;
export const RTN_UNICAST = 1;

export const RTA_DST = 1;
export const RTA_SRC = 2;
export const RTA_IIF = 3;
export const RTA_OIF = 4;
export const RTA_GATEWAY = 5;
export const RTA_PRIORITY = 6;
export const RTA_PREFSRC = 7;
export const RTA_METRICS = 8;
export const RTA_MULTIPATH = 9;
export const RTA_TABLE = 15;
export const RTA_VIA = 18;
