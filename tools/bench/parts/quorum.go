package parts

import (
	"context"
	"time"

	"ackline/broker/syncmethod"
	"ackline/broker/vfs"
	"ackline/tools/floor/echo"
	"ackline/tools/floor/quorum"
	"ackline/tools/stats"
)

// trials bounds how many answers of the quorum one turn measures: far more than a turn has time for.
const trials = 1 << 20

// Quorum is R of a floor of several nodes: the same followers are sent a block each and make it durable while one is made durable
// here, call by call in this process, and the trial is over when a majority is done. That is the sum of a follower's hop and its
// sync beside all the others', as they all are in the floor. Both are measured alone too, in the same turns, and their sum stands
// beside: where the nodes share processors it is less than any program takes (package quorum), so it explains and does not judge.
type Quorum struct {
	HopUs, SyncUs, SumUs []float64 // p50 of a hop and of a sync alone, of all nodes, and of the two together, by turn

	own *echo.Ring
	cfg quorum.MeasureConfig
}

// OpenQuorum makes the file that the leader's own copy goes to.
func OpenQuorum(name, method string, followers []string, valueBytes int) (*Quorum, error) {
	m, err := syncmethod.Parse(method)
	if err != nil {
		return nil, err
	}
	own, err := echo.CreateRing(vfs.OS(), name, echo.MinRingBytes, m)
	if err != nil {
		return nil, err
	}
	return &Quorum{own: own, cfg: quorum.MeasureConfig{Followers: followers, Own: own, Rounds: trials, BlockBytes: blockBytes(valueBytes)}}, nil
}

// Close removes the file.
func (q *Quorum) Close() error { return q.own.Remove() }

// Measure is for Durable.
func (q *Quorum) Measure(ctx context.Context, gap, length time.Duration, placed bool) (float64, error) {
	q.cfg.Cadence, q.cfg.Limit = gap, length/2 // of each: the hops alone, then the trials
	p, err := quorum.Measure(ctx, q.cfg)
	if err == nil && placed {
		q.HopUs, q.SyncUs = append(q.HopUs, stats.LogMean(p.PeerEchoUs)), append(q.SyncUs, stats.LogMean(p.SyncUs))
		q.SumUs = append(q.SumUs, p.CommitUs)
	}
	return p.TrialUs, err
}
