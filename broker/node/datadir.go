package node

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"strconv"

	"ackline/broker/id"
	"ackline/broker/vfs"
)

// What a data directory holds:
//
//	LOCK            held by the process that uses it
//	node.json       whose directory this is: format, cluster, node, incarnation, sync method
//	wal.ring        the write-ahead log
//	meta/           snapshots of the metadata group's state
//	groups/GROUP/   a partition's segments
const (
	lockName     = "LOCK"
	identityName = "node.json"
	ringName     = "wal.ring"
	metaName     = "meta"
	groupsName   = "groups"

	dataFormat = 1
)

// identity is node.json: what must not be mixed up.
type identity struct {
	Format      int            `json:"format"`
	Cluster     string         `json:"cluster_id"`
	Node        id.NodeID      `json:"node_id"`
	Incarnation id.Incarnation `json:"incarnation"`
	// SyncMethod is what probing found best when the directory was made; empty until then.
	SyncMethod string `json:"sync_method,omitempty"`
}

// dataDir is an open and locked data directory.
type dataDir struct {
	fs   vfs.FS
	path string
	lock io.Closer
	identity
	fresh bool // made by this start
}

// openDataDir locks a data directory and checks that it is this node's; it makes an empty or missing one.
func openDataDir(fsys vfs.FS, path string, node id.NodeID, cluster string) (*dataDir, error) {
	if err := vfs.MkdirAllDurable(fsys, path); err != nil {
		return nil, fmt.Errorf("data directory %s: %w; choose another --data-dir or make it writable for this user", path, err)
	}
	lock, err := fsys.Lock(filepath.Join(path, lockName))
	if errors.Is(err, vfs.ErrLocked) {
		return nil, fmt.Errorf("data directory %s is in use by another broker; stop that one, or choose another --data-dir", path)
	}
	if err != nil {
		return nil, fmt.Errorf("data directory %s: %w; choose another --data-dir or make it writable for this user", path, err)
	}
	d := &dataDir{fs: fsys, path: path, lock: lock}
	if err := d.identify(node, cluster); err != nil {
		lock.Close()
		return nil, err
	}
	return d, nil
}

func (d *dataDir) file(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

func (d *dataDir) group(g id.GroupID) string {
	return d.file(groupsName, strconv.FormatUint(uint64(g), 10))
}

func (d *dataDir) identify(node id.NodeID, cluster string) error {
	b, err := vfs.ReadFile(d.fs, d.file(identityName))
	if errors.Is(err, fs.ErrNotExist) {
		return d.found(node, cluster)
	}
	if err != nil {
		return fmt.Errorf("data directory %s: %w", d.path, err)
	}
	if err := json.Unmarshal(b, &d.identity); err != nil {
		return fmt.Errorf("%s: %w; restore the file, it says whose data this is", d.file(identityName), err)
	}
	switch {
	case d.Format > dataFormat:
		return fmt.Errorf("data directory %s has format %d, this program knows %d: run the newer program that wrote it", d.path, d.Format, dataFormat)
	case d.Format < 1 || d.Cluster == "":
		return fmt.Errorf("%s: format %d and cluster id %q make no sense", d.file(identityName), d.Format, d.Cluster)
	case d.Node != node:
		return fmt.Errorf("data directory %s belongs to node %d, this is node %d: start it with --node-id %d, or choose another --data-dir",
			d.path, d.Node, node, d.Node)
	case cluster != "" && d.Cluster != clusterID(cluster):
		return fmt.Errorf("data directory %s belongs to cluster id %s, and the cluster named %q has the id %s: give the name that the directory was "+
			"made with, or choose another --data-dir", d.path, d.Cluster, cluster, clusterID(cluster))
	}
	return nil
}

// found makes a new identity, unless the directory holds data without one: that would be believed to be empty.
func (d *dataDir) found(node id.NodeID, cluster string) error {
	if _, err := d.fs.Stat(d.file(ringName)); err == nil {
		return fmt.Errorf("data directory %s holds a WAL and no %s, which says whose it is; restore that file", d.path, identityName)
	}
	var random [24]byte
	if _, err := rand.Read(random[:]); err != nil {
		return fmt.Errorf("draw a cluster id: %w", err)
	}
	d.identity = identity{
		Format: dataFormat, Node: node,
		Cluster:     base64.RawURLEncoding.EncodeToString(random[:16]),
		Incarnation: id.Incarnation(binary.LittleEndian.Uint64(random[16:]) | 1),
	}
	if cluster != "" {
		d.Cluster = clusterID(cluster)
	}
	d.fresh = true
	return nil
}

// clusterID makes the id of a cluster of its name, so that its nodes agree on it before they have met.
func clusterID(name string) string {
	sum := sha256.Sum256([]byte("ackline cluster " + name))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}

// save writes the identity. It is written last when a directory is made, so that one with an identity is complete.
func (d *dataDir) save() error {
	b, err := json.MarshalIndent(d.identity, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", identityName, err)
	}
	return vfs.WriteFileAtomic(d.fs, d.file(identityName), append(b, '\n'))
}

func (d *dataDir) close() error { return d.lock.Close() }
