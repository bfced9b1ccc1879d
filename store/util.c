/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The log. */
#include "util.h"

#include <stdarg.h>
#include <syslog.h>

enum log_level log_level = LOG_LEVEL_INFO;
static bool to_syslog;

static const int priorities[] = {
        [LOG_LEVEL_ERROR] = LOG_ERR,
        [LOG_LEVEL_WARNING] = LOG_WARNING,
        [LOG_LEVEL_INFO] = LOG_INFO,
        [LOG_LEVEL_DEBUG] = LOG_DEBUG,
};

void log_to_syslog(const char *ident)
{
	openlog(ident, LOG_PID, LOG_DAEMON);
	to_syslog = true;
}

void log_line(enum log_level level, const char *format, ...)
{
	char line[1024];
	va_list ap;

	if (level > log_level)
		return;
	va_start(ap, format);
	vsnprintf(line, sizeof(line), format, ap);
	va_end(ap);
	if (to_syslog)
		syslog(priorities[level], "%s", line);
	else
		fprintf(stderr, "coppice: %s\n", line);
}
