package clustertest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"ackline/broker/id"
	"ackline/broker/node/admin"
)

// change is one change of a cluster's members under load: a node comes and one goes. Something else goes wrong meanwhile.
type change struct {
	c *cluster
	l *load
	w *watch
	r *rand.Rand

	come, old *node
	asked     *node // where the operator said it
	verb      []string
	said      <-chan saying // what became of the first attempt
}

// roles are the nodes that something may happen to during a change. They may be one node, and the one that leads may be any.
var roles = []struct {
	name string
	of   func(*change) *node
}{
	{"a leader", func(ch *change) *node { return ch.c.node(ch.w.leader(ch.r.IntN(partitions), 0).leader) }},
	{"the node that comes", func(ch *change) *node { return ch.come }},
	{"the node that was asked", func(ch *change) *node { return ch.asked }},
}

// seeded returns what the choices of a test are drawn from; ACKLINE_SEED=n repeats them. When they fall in the course of a change is
// not in its hand.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if s := os.Getenv("ACKLINE_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatalf("ACKLINE_SEED=%s: %v", s, err)
		}
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

// beginChange chooses who goes, starts who comes, and has the operator replace the one by the other, or remove the one. It
// returns while that goes on, at any moment of it.
func beginChange(c *cluster, l *load, w *watch, r *rand.Rand) *change {
	c.t.Helper()
	ch := &change{c: c, l: l, w: w, r: r}
	before := c.running()
	ch.old = before[r.IntN(len(before))]
	stay := c.running(ch.old)
	ch.come = c.join(stay[r.IntN(len(stay))])
	w.add(ch.come)
	stay = append(stay, ch.come)
	ch.asked = stay[r.IntN(len(stay))]
	ch.verb = []string{"remove", strconv.Itoa(ch.old.id)}
	if r.IntN(2) == 0 {
		ch.verb = []string{"replace", strconv.Itoa(ch.old.id), strconv.Itoa(ch.come.id)}
	}
	awaited := r.IntN(2) == 0
	if awaited {
		c.ready()
	}
	moment := r.IntN(200)
	c.t.Logf("%v of %v, ready %t, then %d records", ch.verb, ch.asked, awaited, moment)
	ch.said = ch.asked.say(ch.verb...)
	l.goesOn(moment)
	return ch
}

// end has the operator say it again, now here and now there, until it is done, and waits until the cluster is what it should be.
func (ch *change) end() {
	t := ch.c.t
	t.Helper()
	var last saying
	select {
	case last = <-ch.said:
	case <-time.After(patience):
		t.Fatalf("broker admin %v, asked of %v, runs on", ch.verb, ch.asked)
	}
	until(t, fmt.Sprintf("broker admin %v", ch.verb), func() bool {
		if last.code == 0 || strings.Contains(last.errOut, fmt.Sprintf("there is no node %d:", ch.old.id)) {
			return true // the latter: it was removed by an attempt whose answer was lost
		}
		t.Logf("broker admin %v ended with %d: %s%s", ch.verb, last.code, last.out, last.errOut)
		stay := ch.c.running(ch.old)
		at := stay[ch.r.IntN(len(stay))]
		last = <-at.say(ch.verb...)
		return false
	})
	t.Logf("broker admin %v: %d %s%s", ch.verb, last.code, last.out, last.errOut)
	ch.gone()
	ch.c.ready()
	ch.well()
	ch.l.goesOn(10)
	ch.l.check()
}

// gone waits until the process of the node that was to go has found out.
func (ch *change) gone() {
	t, n := ch.c.t, ch.old
	t.Helper()
	ch.w.drop(n)
	if code := n.proc.ended(t); code != 1 || !n.said("removed") {
		t.Fatalf("%v, which was removed, ended with %d: %s", n, code, n.proc.log)
	}
	n.unraced()
	n.proc = nil
}

// well waits until every node says that the cluster has its nodes, all of them alive, and nothing else.
func (ch *change) well() {
	t := ch.c.t
	t.Helper()
	var want []id.NodeID
	for _, n := range ch.c.running() {
		want = append(want, id.NodeID(n.id))
	}
	for _, n := range ch.c.running() {
		var s admin.Status
		code := -1
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%v said last that the status is %d: %+v", n, code, s)
			}
		})
		until(t, fmt.Sprintf("%v to say that the cluster is well", n), func() bool {
			s, code = n.status()
			var alive []id.NodeID
			for _, x := range s.Nodes {
				if x.State == admin.Alive {
					alive = append(alive, x.ID)
				}
			}
			slices.Sort(s.Metadata.Voters)
			return code == 0 && len(s.Nodes) == len(want) && slices.Equal(alive, want) && slices.Equal(s.Metadata.Voters, want) &&
				len(s.Metadata.Learners) == 0 && s.Counts.Going == 0
		})
	}
}

// TestChangeOfMembersAndKillNine kills a node with -9 while a node comes and another goes, and starts it again. Before that, the
// load goes on without it.
func TestChangeOfMembersAndKillNine(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l, w, r := startLoad(c), startWatch(c), seeded(t)
	first := r.IntN(len(roles))
	for i := range rounds(len(roles)) {
		l.goesOn(10)
		ch := beginChange(c, l, w, r)
		role := roles[(first+i)%len(roles)]
		victim := role.of(ch)
		t.Logf("kill %s, %v", role.name, victim)
		victim.kill()
		l.goesOn(1 + r.IntN(50))
		victim.start()
		ch.end()
	}
	w.finish()
	l.finish()
}

// TestChangeOfMembersAndAPause stops a node for longer than it is believed to live, and lets it go on.
func TestChangeOfMembersAndAPause(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l, w, r := startLoad(c), startWatch(c), seeded(t)
	first := r.IntN(len(roles))
	for i := range rounds(len(roles)) {
		l.goesOn(10)
		ch := beginChange(c, l, w, r)
		role := roles[(first+i)%len(roles)]
		victim := role.of(ch)
		t.Logf("stop %s, %v", role.name, victim)
		victim.proc.signal(syscall.SIGSTOP)
		<-time.After(time.Second) // twice the election time-out: what is tried is a pause of that length
		l.goesOn(10)
		victim.proc.signal(syscall.SIGCONT)
		ch.end()
	}
	w.finish()
	l.finish()
}

// TestChangeOfMembersAndAPartition cuts a node off from the others while a node comes and another goes. What is said to the one
// that comes arrives, so to that one the network fails in one direction.
func TestChangeOfMembersAndAPartition(t *testing.T) {
	t.Parallel()
	r := seeded(t)
	first := r.IntN(len(roles))
	for i := range rounds(len(roles)) {
		role := roles[(first+i)%len(roles)]
		t.Run(fmt.Sprintf("%d, %s", i, role.name), func(t *testing.T) { // a cluster for each: all links but those can be cut
			c := newRelayedCluster(t, 3, impatient)
			l, w := startLoad(c), startWatch(c)
			l.goesOn(10)
			ch := beginChange(c, l, w, r)
			victim := role.of(ch)
			t.Logf("cut %v off", victim)
			c.net.lose(between([]int{victim.id}, c.others(victim.id))...)
			<-time.After(time.Second) // as with a pause
			l.goesOn(10)
			c.net.heal()
			ch.end()
			w.finish()
			l.finish()
		})
	}
}

// TestChangeOfMembersInARollingRestart stops and starts every node in turn, the one that goes too if it is still there.
func TestChangeOfMembersInARollingRestart(t *testing.T) {
	t.Parallel()
	c := newCluster(t, 3, impatient)
	l, w, r := startLoad(c), startWatch(c), seeded(t)
	for range rounds(1) {
		l.goesOn(10)
		ch := beginChange(c, l, w, r)
		list := c.running()
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
		for _, n := range list {
			t.Logf("restart %v", n)
			n.proc.signal(syscall.SIGTERM)
			if code := n.proc.ended(t); code != 0 && !(n == ch.old && n.said("removed")) {
				t.Fatalf("%v ended with %d after SIGTERM: %s", n, code, n.proc.log)
			}
			n.unraced()
			n.proc = nil
			n.start()
			c.ready(ch.old)
			l.goesOn(5)
		}
		ch.end()
	}
	w.finish()
	l.finish()
}
