<?php
// SPDX-License-Identifier: BSD-2-Clause
// Fills APCu until it throws everything away, and prints how many entries it
// had before.  Usage: php fill_apcu.php VALUE_BYTES
if (!function_exists('apcu_enabled') || !apcu_enabled()) {
	exit(1);
}
$value = str_repeat('v', (int)$argv[1]);
$entries = 0;
for ($i = 0;; $i++) {
	apcu_store(sprintf('%016x', $i), $value);
	if ($i % 64 != 0) {
		continue;
	}
	$info = apcu_cache_info(true);
	if ($info['expunges'] > 0) {
		break;
	}
	$entries = $info['num_entries'];
}
echo "$entries\n";
