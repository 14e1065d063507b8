# SPDX-License-Identifier: BSD-2-Clause
# What a hit costs: a panel for each course, a bar for each peer.

peers = 'roofline shmcache lfht tdb lmdb'
courses = 'uniform zipf hot'
titles = '"1 M entries of 256 B, uniform" "1 M entries of 256 B, zipf .99" "10 k entries of 64 B, zipf .99"'
color(peer) = peer eq 'shmcache' ? 0xc0392b : peer eq 'roofline' ? 0x7f8c8d : 0x2c7fb8

set multiplot layout 1, 3 title "Time of a hit, one process; median and range over rounds\n" . machine
set style fill solid .85
set boxwidth .7
set grid ytics lc rgb '#dddddd'
set border 3
set tics nomirror out
set xtics font ',9'
unset key
do for [c = 1:words(courses)] {
	top = 0
	set autoscale
	set print $rows
	do for [p = 1:words(peers)] {
		stats file using (strcol(1) eq word(courses, c) && strcol(2) eq word(peers, p) && strcol(5) eq 'alone' ? column(6) : NaN) nooutput
		print sprintf('%d,%f,%f,%f,%d,%s', p, STATS_median, STATS_min, STATS_max, color(word(peers, p)), word(peers, p))
		top = STATS_max > top ? STATS_max : top
	}
	set print
	set title word(titles, c)
	set ylabel (c == 1 ? 'ns per hit' : '')
	set yrange [0:top * 1.1]
	set xrange [.4:words(peers) + .6]
	plot $rows using 1:2:5:xticlabel(6) with boxes lc rgb variable, \
	    $rows using 1:3:(0):(column(4) - column(3)) with vectors nohead lw 1.5 lc rgb 'black', \
	    $rows using 1:4:(sprintf('%.0f', column(2))) with labels offset 0, .8
}
unset multiplot
