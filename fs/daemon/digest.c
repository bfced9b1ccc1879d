/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "digest.h"

#include <errno.h>
#include <string.h>

#ifdef HAVE_LIBCRYPTO
#include <openssl/evp.h>
#endif

#include "snapshot.h"
#include "util.h"

struct digest {
	struct content_hash *xxh3; /* NULL: the kind is sha256 */
#ifdef HAVE_LIBCRYPTO
	EVP_MD_CTX *sha256;
#endif
};

int digest_create(const char *kind, struct digest **ret_digest)
{
	struct digest *digest = calloc(1, sizeof(*digest));
	int r = digest ? 0 : -ENOMEM;

	if (!r && !strcmp(kind, "xxh3")) {
		digest->xxh3 = content_hash_create();
		r = digest->xxh3 ? 0 : -ENOMEM;
	} else if (!r && !strcmp(kind, "sha256")) {
#ifdef HAVE_LIBCRYPTO
		digest->sha256 = EVP_MD_CTX_new();
		r = digest->sha256 ? 0 : -ENOMEM;
#else
		r = -EOPNOTSUPP;
#endif
	} else if (!r) {
		r = -EINVAL;
	}
	if (r)
		digest_destroy(digest);
	else
		*ret_digest = digest;
	return r;
}

void digest_destroy(struct digest *digest)
{
	if (!digest)
		return;
	content_hash_destroy(digest->xxh3);
#ifdef HAVE_LIBCRYPTO
	EVP_MD_CTX_free(digest->sha256);
#endif
	free(digest);
}

static int add(struct digest *digest, const void *data, size_t len)
{
	if (digest->xxh3) {
		content_hash_add(digest->xxh3, data, len);
		return 0;
	}
#ifdef HAVE_LIBCRYPTO
	return EVP_DigestUpdate(digest->sha256, data, len) ? 0 : -EIO;
#else
	return -EOPNOTSUPP;
#endif
}

static int add_piece(void *arg, const uint8_t *data, uint64_t len)
{
	static const uint8_t zeros[65536];
	int r = 0;

	if (data)
		return add(arg, data, len);
	for (; !r && len; len -= MIN(len, sizeof(zeros)))
		r = add(arg, zeros, MIN(len, sizeof(zeros)));
	return r;
}

static int begin(struct digest *digest)
{
	if (digest->xxh3)
		content_hash_reset(digest->xxh3);
#ifdef HAVE_LIBCRYPTO
	else if (!EVP_DigestInit_ex(digest->sha256, EVP_sha256(), NULL))
		return -EIO;
#endif
	return 0;
}

int digest_file(struct digest *digest, struct tree *tree, uint64_t ino,
                uint64_t size, char ret_text[DIGEST_TEXT_MAX])
{
	uint8_t bytes[DIGEST_MAX];
	unsigned len = CONTENT_HASH_LEN;
	int r = begin(digest);

	if (!r)
		r = file_content(tree, ino, size, add_piece, digest);
	if (r)
		return r;
	if (digest->xxh3)
		content_hash_get(digest->xxh3, bytes);
#ifdef HAVE_LIBCRYPTO
	else if (!EVP_DigestFinal_ex(digest->sha256, bytes, &len))
		return -EIO;
#endif
	for (unsigned i = 0; i < len; i++)
		snprintf(ret_text + 2 * (size_t)i, 3, "%02x", bytes[i]);
	return 0;
}
