/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "own_property.h"

#include <errno.h>

#include "duration.h"
#include "size.h"
#include "util.h"

static int parse_size(const char *value, char ret_value[PROPERTY_VALUE_MAX + 1])
{
	uint64_t bytes;

	if (size_parse(value, &bytes) || !bytes)
		return -EINVAL;
	snprintf(ret_value, PROPERTY_VALUE_MAX + 1, "%llu",
	         (unsigned long long)bytes);
	return 0;
}

static int parse_duration(const char *value,
                          char ret_value[PROPERTY_VALUE_MAX + 1])
{
	int64_t seconds;

	if (duration_parse(value, &seconds) || !seconds)
		return -EINVAL;
	snprintf(ret_value, PROPERTY_VALUE_MAX + 1, "%s", value);
	return 0;
}

/* In the order of the keys. */
static const struct own_property properties[] = {
        {.key = "creator", .readonly = true},
        {.key = "description"},
        {.key = "quota",
         .forks_only = true,
         .parse = parse_size,
         .apply = quota_apply,
         .reason = "a quota is a number of bytes above 0, such as 500M or "
                   "10G"},
        {.key = "ttl",
         .parse = parse_duration,
         .reason = "a ttl is a time such as 90m, 36h, 7d or 4w"},
};

const struct own_property *own_property_find(const char *key)
{
	for (size_t i = 0; i < ARRAY_SIZE(properties); i++)
		if (!strcmp(properties[i].key, key))
			return &properties[i];
	return NULL;
}

const struct own_property *own_property_at(size_t i)
{
	return i < ARRAY_SIZE(properties) ? &properties[i] : NULL;
}
