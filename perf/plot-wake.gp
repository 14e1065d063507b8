# SPDX-License-Identifier: BSD-2-Clause
# How soon waiters are back: a panel for each number of sleepers.

sleepers = '1 16 64'
ways = 'raw raw2 ours'
titles = '"raw, FUTEX_WAIT" "raw, FUTEX_WAITV" "shmc_fetch"'
colors = grey . ' ' . blue . ' ' . ours

set multiplot layout 1, 3 title "From just before the wake to a sleeper's return; all sleepers, all rounds\n" . machine
set grid lc rgb '#dddddd'
set border 3
set tics nomirror out
set logscale x
set xlabel 'us'
set key bottom right samplen 1.5 font ',10'
do for [s = 1:words(sleepers)] {
	set title word(sleepers, s) . (s == 1 ? ' sleeper' : ' sleepers')
	set ylabel s == 1 ? 'share of sleepers back' : ''
	set autoscale
	stats file using (column(1) == word(sleepers, s) + 0 ? column(4) / 1000 : NaN) nooutput
	set yrange [0:1]
	set xrange [STATS_min * .9:STATS_median * 6]
	set xtics (5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)
	plot for [w = 1:words(ways)] file \
	    using (column(1) == word(sleepers, s) + 0 && strcol(2) eq word(ways, w) ? column(4) / 1000 : NaN):(1) \
	    smooth cnormal with lines lw 2 lc rgb word(colors, w) title word(titles, w)
}
unset multiplot
unset logscale
