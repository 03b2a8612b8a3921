from odoo.tests import TransactionCase, tagged

from ..models.undoable import LASTING, each_alone, undoable


@tagged("post_install", "-at_install")
class TestUndoable(TransactionCase):
    """Undoing removes deferred calls together with their data: core's `Callbacks` hold both."""

    def _fail(self, work):
        with self.assertRaises(ZeroDivisionError), undoable(self.env.cr):
            work()
            raise ZeroDivisionError

    def test_bus(self):
        """Test that the bus sends messages after a failure: core reads in its data whether a call waits."""
        queue = self.env.cr.postcommit
        queue.clear()
        self._fail(lambda: self.env.user._bus_send("sendgrid.test/undone", {}))
        self.assertNotIn("bus.bus.channels", queue.data)
        self.assertEqual(len(queue), 0)
        self.env.user._bus_send("sendgrid.test/said", {})
        self.assertIn("bus.bus.channels", queue.data)
        self.assertEqual(len(queue), 1)
        self._fail(lambda: self.env.ref("base.group_user")._bus_send("sendgrid.test/undone", {}))
        self.assertEqual(len(queue), 1)
        [channel] = queue.data["bus.bus.channels"]
        self.assertIn("res.partner", str(channel))

    def test_containers(self):
        """Test that data are restored in place, whatever they are: the deferred call may hold the same object."""
        for queue in (self.env.cr.postcommit, self.env.cr.postrollback):
            for name, value in {"list": [1], "dict": {"a": 1}, "set": {1}, "number": 1}.items():
                with self.subTest(name):
                    queue.clear()
                    queue.data["key"] = value
                    queue.add(lambda: None)

                    def work(queue=queue, name=name):
                        queue.add(lambda: None)
                        queue.data["other"] = [1]
                        if name == "list":
                            queue.data["key"].append(2)
                        elif name == "dict":
                            queue.data["key"]["b"] = 2
                        elif name == "set":
                            queue.data["key"].add(2)
                        else:
                            queue.data["key"] = 2

                    self._fail(work)
                    expected = {"list": [1], "dict": {"a": 1}, "set": {1}, "number": 1}[name]
                    self.assertEqual(queue.data, {"key": expected})
                    self.assertIs(queue.data["key"], value)
                    self.assertEqual(len(queue), 1)
            queue.clear()

    def test_lasting(self):
        """Test that calls about mails that have left stay, with their data."""
        queue = self.env.cr.postrollback
        queue.clear()
        written = []

        def work():
            rows = queue.data.setdefault(LASTING, [])
            rows.append("row")

            def write():
                written.extend(rows)

            write.is_lasting = True
            queue.add(write)
            queue.add(lambda: written.append("undone"))

        self._fail(work)
        queue.run()
        self.assertEqual(written, ["row"])

    def test_each_alone(self):
        """Test that of several items only the one that fails is noted, and that nothing of it stays."""
        partners = self.env["res.partner"].create([{"name": name} for name in "abc"])

        def work(some):
            some.write({"ref": "seen"})
            if "b" in some.mapped("name"):
                raise ZeroDivisionError
            return len(some)

        noted = []
        done = each_alone(self.env.cr, work, partners, lambda some, error: noted.append((some, type(error))))
        self.assertEqual(done, [1, None, 1])
        self.assertEqual(noted, [(partners[1], ZeroDivisionError)])
        self.assertEqual(partners.mapped("ref"), ["seen", False, "seen"])
        self.assertEqual(each_alone(self.env.cr, work, partners[:0], None), [])
        self.assertEqual(each_alone(self.env.cr, work, partners[0] + partners[2], None), [2])
