package election

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are gauges that are read from the gate at each scrape, so that none is ever stale.
type metrics struct {
	gate *gate
	lock *leaseLock

	leader, epoch, valid *prometheus.Desc
}

func registerMetrics(reg prometheus.Registerer, gate *gate, lock *leaseLock) error {
	m := &metrics{
		gate: gate,
		lock: lock,
		leader: prometheus.NewDesc("kube_devops_leader",
			"1 while this replica may publish, else 0.", nil, nil),
		epoch: prometheus.NewDesc("kube_devops_lease_epoch",
			"Number of times that the Lease has changed hands, as last read. Absent until the Lease was read and while it does not exist.", nil, nil),
		valid: prometheus.NewDesc("kube_devops_gate_valid_seconds",
			"Seconds for which this replica may publish without another renewal of the Lease; 0 while it may not publish.", nil, nil),
	}
	if err := reg.Register(m); err != nil {
		return fmt.Errorf("register election metrics: %w", err)
	}
	return nil
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.leader
	ch <- m.epoch
	ch <- m.valid
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	v := m.gate.state()
	leader := 0.0
	if v.open || m.gate.draining() {
		leader = 1
	}
	ch <- prometheus.MustNewConstMetric(m.leader, prometheus.GaugeValue, leader)
	ch <- prometheus.MustNewConstMetric(m.valid, prometheus.GaugeValue, v.remaining.Seconds())
	// A zero in its place would count as a change of leader when the Lease is read.
	if seen := m.lock.lastObserved(); seen != nil && seen.lease != nil {
		ch <- prometheus.MustNewConstMetric(m.epoch, prometheus.GaugeValue, float64(epoch(seen.lease)))
	}
}
