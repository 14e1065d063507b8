/* SPDX-License-Identifier: BSD-2-Clause */
/* put, get, touch, delete: bytes in, bytes out, no computation. */
#include "example.h"

/* What a get can answer, and what a server makes of it. */
static const char *
look(struct shmc *cache, const char *key, char *buffer, size_t room)
{
	size_t bytes;

	switch (shmc_get(cache, key, strlen(key), buffer, room, &bytes)) {
	case SHMC_OK:
		return bytes == 0 ? "there, and empty" : "there";
	case SHMC_STALE:
		return "there, past its ttl";
	case SHMC_MISS:
		return "not there";
	case SHMC_TRUNCATED:
		return "there, the buffer is too small";
	default:
		return "a remembered error, or no slot for us";
	}
}

int
main(void)
{
	struct shmc *cache = open_cache();
	char buffer[64];

	MUST(shmc_put(cache, "name", 4, "Ada", 3, 0 /* until evicted */) ==
	    SHMC_OK);
	MUST(shmc_put(cache, "none", 4, "", 0, 0) == SHMC_OK);
	MUST(shmc_put(cache, "brief", 5, "soon gone", 9, 1 /* ms */) ==
	    SHMC_OK);
	sleep_ms(50);
	MUST(strcmp(look(cache, "name", buffer, 64), "there") == 0);
	MUST(memcmp(buffer, "Ada", 3) == 0);
	MUST(strcmp(look(cache, "none", buffer, 64), "there, and empty") == 0);
	MUST(strcmp(look(cache, "brief", buffer, 64), "not there") == 0);
	printf("in 2 bytes, name is %s\n", look(cache, "name", buffer, 2));

	MUST(shmc_touch(cache, "name", 4, 60 * 1000) == SHMC_OK);
	MUST(shmc_touch(cache, "other", 5, 60 * 1000) == SHMC_MISS);
	MUST(shmc_delete(cache, "name", 4) == SHMC_OK);
	printf("deleted, name is %s\n", look(cache, "name", buffer, 64));
	MUST(strcmp(look(cache, "name", buffer, 64), "not there") == 0);
	shmc_close(cache);
	return 0;
}
