package hosts

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"ackline/loadgen/cluster"
	"ackline/tools/bench/record"
	"ackline/tools/bench/target"
	"ackline/tools/hostinfo/fingerprint"
)

// lookTimeout is how long anything may take to answer before the run begins.
const lookTimeout = 10 * time.Second

// Look asks everything that the file names whether it is there, before minutes are spent.
func (c *Config) Look(ctx context.Context) error {
	at := c.There()
	if err := at.Reach(ctx); err != nil {
		return err
	}
	papers, err := c.Security.Open()
	if err != nil {
		return err
	}
	k, err := cluster.NewSecure(c.Brokers, lookTimeout, papers)
	if err != nil {
		return err
	}
	there, err := k.Nodes(ctx)
	if err != nil {
		return err
	}
	if len(there) != len(c.Brokers) {
		return fmt.Errorf("brokers names %d, the cluster has %d (%s): name all, or those that do not answer are not measured as what they are", len(c.Brokers),
			len(there), strings.Join(there, ", "))
	}
	if len(c.HTTP) > 0 {
		if _, err := target.Elsewhere(c.Brokers, c.HTTP).Metrics(ctx); err != nil {
			return fmt.Errorf("http: %w", err)
		}
	}
	return nil
}

// disks are the fields of a fingerprint that are about the disk of a directory: the client has none that matters.
var disks = []string{"file_system", "mount_options", "device", "device_bytes", "write_cache", "fua", "rotational", "io_scheduler", "io_queue_depth",
	"logical_and_physical_block_bytes", "writeback_throttle_us", "io_poll", "dirty_background_ratio", "dirty_background_bytes", "dirty_ratio", "dirty_bytes",
	"dirty_expire_cs"}

// Host is the fingerprint of a run: what is said of the machines, and the client's own. The first field keeps it apart from those of
// runs in which all was on one machine.
func (c *Config) Host(client fingerprint.Info) fingerprint.Info {
	fields := []fingerprint.Field{{Name: "remote", Value: record.Hosts(len(c.Brokers)), Match: true},
		{Name: "machines", Value: strings.Join(strings.Fields(c.Note), " "), Match: true}}
	for _, f := range client.Fields {
		if !slices.Contains(disks, f.Name) {
			f.Name = record.ClientField + f.Name
			fields = append(fields, f)
		}
	}
	return fingerprint.New(fields)
}
