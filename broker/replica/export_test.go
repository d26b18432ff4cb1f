package replica

import "ackline/broker/id"

// Evict lets go of the cached entries up to i, as a full memory would.
func (g *Group) Evict(i id.Index) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.log.Evict(min(i, g.applied))
}
