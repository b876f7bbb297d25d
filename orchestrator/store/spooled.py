"""Whether anybody still waits for the files of a spool."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Connection, Text, bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY

from orchestrator.base.states import ENDED_JOBS

#: What is stored, or whose job has ended, is never fetched again: a retry begins with new rows. A batch that is not
#: known is another database's.
_UNNEEDED = text(
    """
    SELECT told.batch_id, told.asset_pk
    FROM unnest(:batches, :assets) AS told (batch_id, asset_pk)
    JOIN batch ON batch.id = told.batch_id
    LEFT JOIN (asset JOIN job ON job.pk = asset.job_pk)
        ON asset.pk = told.asset_pk AND job.batch_id = told.batch_id
    WHERE job.pk IS NULL
       OR job.lease_token IS NULL AND (asset.stored_at IS NOT NULL OR job.state::text = ANY(:ended))
    """
).bindparams(
    bindparam("batches", type_=ARRAY(Text())),
    bindparam("assets", type_=ARRAY(BigInteger())),
    bindparam("ended", [str(state) for state in ENDED_JOBS], type_=ARRAY(Text())),
)


def unneeded_files(connection: Connection, files: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Of the files of these assets (batch and row), those that no copy will ask for, and none works on just now."""
    told = {"batches": [batch_id for batch_id, _ in files], "assets": [asset_pk for _, asset_pk in files]}
    return [(row.batch_id, row.asset_pk) for row in connection.execute(_UNNEEDED, told)]
