/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "path_text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "escaped_name.h"

const char *path_text(const json_t *path, bool raw, char text[PATH_TEXT_MAX])
{
	char bytes[PATH_MAX];
	char *out = text;

	*text = 0;
	if (name_unescape(path, bytes, sizeof(bytes)))
		return text;
	if (raw)
		return strcpy(text, bytes);
	for (const char *c = bytes; *c; c++) {
		if ((unsigned char)*c >= ' ' && *c != 0x7f && *c != '\\')
			*out++ = *c;
		else
			out += sprintf(out, "\\%03o", (unsigned char)*c);
	}
	*out = 0;
	return text;
}
