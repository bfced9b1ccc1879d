/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "time_name.h"

#include <ctype.h>
#include <stdio.h>
#include <time.h>

#include "util.h"

void time_name_now(unsigned again, char name[TIME_NAME_MAX])
{
	/* time() may still be in the second before now_ns(). */
	time_t now = now_ns() / 1000000000;
	struct tm tm;
	size_t len;

	gmtime_r(&now, &tm);
	len = strftime(name, TIME_NAME_MAX, "%Y-%m-%dT%H:%M:%SZ", &tm);
	if (again)
		snprintf(name + len, TIME_NAME_MAX - len, "-%u", again + 1);
}

bool time_name_is(const char *name)
{
	static const char form[] = "0000-00-00T00:00:00Z";
	size_t i = 0;

	for (; form[i]; i++)
		if (form[i] == '0' ? !isdigit((unsigned char)name[i])
		                   : name[i] != form[i])
			return false;
	if (!name[i])
		return true;
	if (name[i++] != '-' || !isdigit((unsigned char)name[i]))
		return false;
	while (isdigit((unsigned char)name[i]))
		i++;
	return !name[i];
}
