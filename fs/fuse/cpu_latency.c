/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cpu_latency.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "util.h"

enum {
	WEIGHT = 8,  /* of the average's past */
	SHALLOW = 2, /* lets a processor halt, but not turn parts of it off */
};

/*
 * Return the limit in microseconds.  Halting ends a virtual processor's turn on
 * the host unless the kernel polls before it, by the haltpoll driver.
 */
static int32_t limit_choose(const char *sys)
{
	char path[PATH_MAX], driver[32] = "";
	_cleanup_fclose_ FILE *f = NULL;

	snprintf(path, sizeof(path), "%s/devices/system/cpu/cpuidle/%s", sys,
	         "current_driver");
	f = fopen(path, "re");
	if (f && fgets(driver, sizeof(driver), f))
		driver[strcspn(driver, "\n")] = 0;
	return strcmp(driver, "haltpoll") == 0 ? 0 : SHALLOW;
}

void cpu_latency_init(struct cpu_latency *self)
{
	*self = (struct cpu_latency){.fd = -1};
}

void cpu_latency_open(struct cpu_latency *self, const char *dev,
                      const char *sys)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), "%s/cpu_dma_latency", dev);
	self->fd = open(path, O_WRONLY | O_CLOEXEC);
	self->limit = limit_choose(sys);
}

void cpu_latency_close(struct cpu_latency *self)
{
	if (self->fd >= 0)
		close(self->fd);
	self->fd = -1;
	self->held = false;
}

static void set(struct cpu_latency *self, bool held)
{
	int32_t value = held ? self->limit : CPU_LATENCY_NONE;

	if (self->held == held)
		return;
	if (write(self->fd, &value, sizeof(value)) != sizeof(value))
		cpu_latency_close(self);
	else
		self->held = held;
}

void cpu_latency_tick(struct cpu_latency *self, unsigned requests)
{
	unsigned now = MIN(requests, 1000u) * CPU_LATENCY_UNIT;

	if (self->fd < 0)
		return;
	self->average = (self->average * (WEIGHT - 1) + now) / WEIGHT;
	if (self->average >= CPU_LATENCY_HOLD * CPU_LATENCY_UNIT)
		set(self, true);
	else if (self->average < CPU_LATENCY_DROP * CPU_LATENCY_UNIT)
		set(self, false);
}

void cpu_latency_drop(struct cpu_latency *self)
{
	self->average = 0;
	if (self->fd >= 0)
		set(self, false);
}
