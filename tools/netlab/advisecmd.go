package main

import (
	"fmt"
	"strconv"
	"time"

	"ackline/profiles/region"
	"ackline/tools/netlab/advise"
)

type adviseCmd struct {
	Topology      string                   `arg:"" help:"A built-in topology (${topologies}) or a TOML file. Its hosts are those that may hold a replica; clients may be in each of its regions."`
	Sync          time.Duration            `default:"100us" help:"What a durable write takes on each host, its p50: 'walbench raw' measures it (${default})."`
	SyncP99       time.Duration            `name:"sync-p99" help:"Its p99, for the column 'slow'; not given: as --sync."`
	SyncOf        map[string]time.Duration `name:"sync-of" mapsep:"," placeholder:"HOST=TIME,..." help:"Hosts on which it takes another time, such as n3=2ms. Only such differences let disks decide who leads."`
	Replicas      string                   `default:"all" help:"How many of the hosts vote: 3, 5, any number of them, or all. With fewer than all, the set is chosen too (${default})."`
	Producers     []string                 `placeholder:"REGION=SHARE" help:"Where records come from, such as frankfurt=0.7,tokyo=0.3 or frankfurt=70%,tokyo=30%; REGION/ZONE names a zone. Shares add up to 1. Not given: from every region alike."`
	SurviveRegion bool                     `help:"Leave out sets of replicas that lose their majority with one region, even if they are faster."`
	JSON          bool                     `name:"json" help:"Print JSON; times are nanoseconds."`
}

// Help is what follows the summary in advise --help.
func (*adviseCmd) Help() string {
	return "Nothing is run: it is arithmetic on the topology's distances. A record from client c with leader l takes\n\n" +
		"  one-way(c,l) + commit(l) + one-way(l,c)\n\n" +
		"where commit(l) is when a majority has it on disk: the leader's own sync, beside one-way there, sync and one-way back for each follower. It is a " +
		"floor: queues, jitter, loss, links' limits and programs' time come on top.\n\n" +
		"Which three of five regions, when most records come from Frankfurt?\n\n" +
		"  netlab advise world-5 --replicas 3 --producers frankfurt=70%,tokyo=30%\n\n" +
		"Then see how near a real cluster comes to it, with netlab run. bench --advise has the same for a cluster with a replica on every host, with a sync that it " +
		"measures, and puts measured latencies beside."
}

// Run compares the placements.
func (c *adviseCmd) Run(s *streams) error {
	t, err := region.Load(c.Topology)
	if err != nil {
		return err
	}
	cfg := advise.Config{Sync: c.Sync, SyncP99: c.SyncP99, SyncOf: c.SyncOf, SurviveRegion: c.SurviveRegion}
	if c.Replicas != "all" {
		if cfg.Replicas, err = strconv.Atoi(c.Replicas); err != nil || cfg.Replicas < 1 {
			return fmt.Errorf("--replicas %s: want 1 to %d, or all", c.Replicas, len(t.Hosts))
		}
	}
	for _, text := range c.Producers {
		p, err := advise.ParseProducer(text)
		if err != nil {
			return fmt.Errorf("--producers %w", err)
		}
		cfg.Producers = append(cfg.Producers, p)
	}
	r, err := advise.Advise(t, cfg)
	if err != nil {
		return err
	}
	if c.JSON {
		return s.json(r)
	}
	return r.Print(s.out)
}
