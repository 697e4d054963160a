"""The walk from columns to objects. What encode/ has under the same name is its way there."""
