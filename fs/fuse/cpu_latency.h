/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Keeps the processors that have nothing to do from sleeping deeply while
 * requests follow each other closely.  A request wakes a thread of the daemon,
 * and its answer wakes the caller; if the other processor sleeps, or, in a
 * virtual machine, has been given back to the host, waking it takes longer than
 * most requests.  The kernel has an interface for this, PM QoS's limit of the
 * processors' latency (Documentation/power/pm_qos_interface.rst), which holds
 * for the whole machine until its descriptor is closed.  Only root may use it.
 */
#ifndef COPPICE_CPU_LATENCY_H
#define COPPICE_CPU_LATENCY_H

#include <stdbool.h>
#include <stdint.h>

struct cpu_latency {
	int fd;        /* -1: not used */
	int32_t limit; /* microseconds that waking may take */
	bool held;
	unsigned average; /* requests a tick, in 1/CPU_LATENCY_UNIT */
};

enum {
	CPU_LATENCY_UNIT = 256,
	CPU_LATENCY_HOLD = 4, /* requests a tick from which on it is held */
	CPU_LATENCY_DROP = 1, /* and below which it is not */
	CPU_LATENCY_NONE = 2000000000, /* the kernel's value for no limit */
};

/* Begin without a limit, and without the means to set one. */
void cpu_latency_init(struct cpu_latency *self);

/*
 * Open the kernel's interface below `dev` and `sys`, which are "/dev" and
 * "/sys" except in tests.  If it cannot be opened, the other functions do
 * nothing.
 */
void cpu_latency_open(struct cpu_latency *self, const char *dev,
                      const char *sys);
void cpu_latency_close(struct cpu_latency *self);

/*
 * Set or withdraw the limit, according to the number of requests that began or
 * ended since the last call, one tick ago.
 */
void cpu_latency_tick(struct cpu_latency *self, unsigned requests);

/* Withdraw the limit, before a time without ticks. */
void cpu_latency_drop(struct cpu_latency *self);

/* Return true if the limit is set. */
static inline bool cpu_latency_held(const struct cpu_latency *self)
{
	return self->held;
}

#endif
