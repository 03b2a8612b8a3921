"""The fields that mean something to developers only."""


def hide_technical(records, described, names):
    """Keep fields out of what a user chooses from: measures, groups, filters, columns of an export.

    Whoever has switched on the developer mode still has them.

    :param described: what `fields_get` returns; it is changed
    :param names: the names of the technical fields
    """
    if not records.env.user.has_group("base.group_no_one"):
        for name in names & described.keys():
            hidden = {"searchable": False, "groupable": False, "exportable": False, "aggregator": False}
            described[name].update({key: value for key, value in hidden.items() if key in described[name]})
    return described
