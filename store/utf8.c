/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "utf8.h"

#include <string.h>

size_t utf8_decode(const unsigned char *p, size_t len, uint32_t *ret_char)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t need = p[0] < 0x80             ? 1
	              : (p[0] & 0xe0) == 0xc0 ? 2
	              : (p[0] & 0xf0) == 0xe0 ? 3
	              : (p[0] & 0xf8) == 0xf0 ? 4
	                                      : 0;
	uint32_t c = need == 1 ? p[0] : p[0] & (0x7f >> need);

	if (need == 0 || need > len)
		return 0;
	for (size_t i = 1; i < need; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < least[need] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return 0;
	*ret_char = c;
	return need;
}

bool utf8_valid(const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t len = strlen(text);
	uint32_t c;

	while (len) {
		size_t n = utf8_decode(p, len, &c);

		if (!n)
			return false;
		p += n;
		len -= n;
	}
	return true;
}
